"""Secrets are placeholders in everything that a run leaves, in each form in which they occur."""

import base64
import json
import re
from urllib.parse import quote, quote_plus

import pytest

from oneself_conformance.http_client import Answer
from oneself_conformance.masking import SecretMask

PASSWORD = 'Vio"let tängent/47+\\'
TOKEN = "sess_8xV2pQ0mZr4Lw9Tn6Ys1Kc5Hb7Jd3Gf0Qa2We4Rt6Yu3IlpB7"
#: Of the secret that a text in Base64 may still have, the bytes that it shares with others.
_SHARED = 2


@pytest.fixture
def mask() -> SecretMask:
    known = SecretMask()
    known.add("base", {"email": "john@example.com", "password": PASSWORD, "session_token": TOKEN})
    return known


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, tuple(headers.items()), json.dumps(body).encode())


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        json.dumps(PASSWORD),
        json.dumps(PASSWORD, ensure_ascii=False),
        repr(PASSWORD),
        quote(PASSWORD, safe=""),
        quote_plus(PASSWORD),
        re.sub("%..", lambda found: found[0].lower(), quote_plus(PASSWORD)),
    ],
)
def test_secret_is_found_in_each_form(mask: SecretMask, text: str):
    """contract F6."""
    masked = mask.apply(f"value is {text}")
    assert "$PASSWORD" in masked
    assert "ngent" not in masked


@pytest.mark.parametrize("before", ["", "a", "ab", "client_id:", "john@example.com:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_secret_is_found_within_base64(mask: SecretMask, before: str, encode):
    """contract F6: a header of Basic authentication has more than the secret."""
    text = encode(f"{before}{TOKEN}".encode()).decode()
    masked = mask.apply(text)
    assert "$SESSION_TOKEN" in masked
    left = base64.b64decode(masked.replace("$", "").split("SESSION_TOKEN")[0] + "====")
    assert len(left) <= len(before) + _SHARED


def test_secrets_of_answers_are_learnt():
    """contract F6: of a log-in, of a new token, of cookies and of recovery codes."""
    mask = SecretMask()
    mask.learn(
        answer({"data": {"session_token": "abc-def-ghi"}}, **{"Set-Cookie": "id=jkl-mno; Path=/"})
    )
    mask.learn(answer({"recovery_codes": ["1234-5678"], "uri": "otpauth://totp/a?secret=ABCDEFGH"}))
    masked = mask.apply("abc-def-ghi jkl-mno 1234-5678 otpauth://totp/a?secret=ABCDEFGH")
    assert masked == "$NEW_SESSION_TOKEN $NEW_ID $NEW_RECOVERY_CODES $NEW_URI"


def test_sentences_and_types_are_no_secrets():
    mask = SecretMask()
    mask.learn(answer({"new_password": "required"}, 400))
    mask.learn(answer({"token_type": "Bearer", "token_endpoint": "http://a/oauth/token"}))
    assert mask.apply("required Bearer http://a/oauth/token") == (
        "required Bearer http://a/oauth/token"
    )


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"refresh_token": "unknown-0123', '{"refresh_token": "***'),
        ("{'apiKey': 'unknown'}, 'x'", "{'apiKey': '***'}, 'x'"),
        (r"{\"password\": \"un known\"}", r"{\"password\": \"***\"}"),
        ("?a=b&token=unknown&c=d", "?a=b&token=***&c=d"),
        ("Authorization: Token unknown", "Authorization: Token ***"),
        ("Cookie: a=unknown; b=unknown", "Cookie: ***"),
        ("Set-Cookie: a=unknown; Path=/", "Set-Cookie: a=***; Path=/"),
        ("X-CSRFToken: unknown", "X-CSRFToken: ***"),
        ('{"code": "not_found", "field": ["password"]}',) * 2,
    ],
)
def test_unknown_secret_is_hidden_by_its_name(text: str, masked: str):
    """contract F6: deny by default, also if the end was cut off."""
    assert SecretMask().apply(text) == masked


def test_secrets_are_announced_as_soon_as_they_are_known(mask: SecretMask):
    announced: list[str] = []
    mask.announce_to(announced.append)
    mask.learn(answer({"token": "abc-def-ghi"}))
    mask.learn(answer({"token": "abc-def-ghi"}))
    assert announced == ["abc-def-ghi"]


def test_secret_of_an_answer_gets_the_name_that_its_user_has():
    mask = SecretMask()
    mask.learn(answer({"ticket": TOKEN}))
    mask.add("base", {"session_token": TOKEN})
    assert mask.apply(TOKEN) == "$SESSION_TOKEN"
