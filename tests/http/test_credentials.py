"""Tests of credentials over the wire: exactly one, unchanged, where it belongs."""

import pytest

from tests.http.running import Account, Running

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _other(character: str) -> str:
    if character in ALPHABET:
        return ALPHABET[(ALPHABET.index(character) + 1) % len(ALPHABET)]
    return "-"


def test_token_with_a_changed_character_is_rejected(service: Running, alice: Account):
    """TK-01."""
    token = alice.session
    for place, character in enumerate(token):
        mutant = token[:place] + _other(character) + token[place + 1 :]
        answer = service.ask("GET", "/v1/me", headers={"Authorization": f"Bearer {mutant}"})
        assert (answer.status, answer.code) == (401, "invalid_token"), place


def test_part_of_a_token_is_rejected(service: Running, alice: Account):
    """TK-01, CVE-2026-27840."""
    token = alice.session
    parts = {token[:length] for length in range(len(token))} | {token[1:], token[5:]}
    longer = {f"{token}x", f"{token}\t", f"x{token}", token * 2, f"{token},{token}", f'"{token}"'}
    for other in parts | longer - {f"{token}\t"}:
        answer = service.ask("GET", "/v1/me", headers={"Authorization": f"Bearer {other}"})
        assert answer.status == 401, len(other)


def test_token_is_case_sensitive_and_its_scheme_is_not(service: Running, alice: Account):
    """TK-01, RFC 9110 section 11.1."""
    token = alice.session
    for header, status in (
        (f"bearer {token}", 200),
        (f"BEARER {token}", 200),
        (f"Bearer {token.swapcase()}", 401),
        (f"Bearer {token.upper()}", 401),
        (f"Bearer{token}", 401),
        (f"Basic {token}", 401),
        (token, 401),
        ("Bearer", 401),
        ("", 401),
    ):
        answer = service.ask("GET", "/v1/me", headers={"Authorization": header})
        assert answer.status == status, header[:8]


def test_credential_is_rejected_in_another_header(service: Running, alice: Account):
    """SE-10, TK-02."""
    for headers in (
        {"X-API-Key": alice.session},
        {"X-API-Key": alice.access_token},
        {"Authorization": f"Bearer {alice.api_key}"},
        {"Cookie": f"__Host-oneself_session={alice.access_token}"},
        {"Cookie": f"__Host-oneself_session={alice.api_key}"},
        {"X-API-Key": f"Bearer {alice.api_key}"},
        {"X-API-Key": alice.api_key[:-1]},
        {"X-API-Key": alice.api_key + "x"},
    ):
        answer = service.ask("GET", "/v1/me", headers=headers)
        assert (answer.status, answer.code) == (401, "invalid_token"), headers.keys()


def test_two_credentials_are_rejected(service: Running, alice: Account):
    """SE-10."""
    bearer, key, cookie = alice.bearer, {"X-API-Key": alice.api_key}, alice.cookie
    bad_bearer = {"Authorization": "Bearer x"}
    twice = {"Cookie": f"{cookie['Cookie']}; {cookie['Cookie']}"}
    for headers in (
        {**bearer, **key},
        {**bad_bearer, **key},
        {**bearer, **key, **cookie},
        twice,
        {"Cookie": cookie["Cookie"], "cookie": cookie["Cookie"]},
        {"X-API-Key": alice.api_key, "x-api-key": alice.api_key},
        {"Cookie": f"{cookie['Cookie']};__Host-oneself_session="},
    ):
        answer = service.ask("GET", "/v1/me", headers=headers)
        assert (answer.status, answer.code) == (400, "multiple_credentials"), headers.keys()


def test_header_takes_precedence_over_the_cookie(service: Running, alice: Account):
    """SE-09, SE-10: the cookie counts for nothing, so another site may have sent it."""
    cross_site = {**alice.cookie, "Sec-Fetch-Site": "cross-site"}
    stale = {"Cookie": "__Host-oneself_session=x", "Sec-Fetch-Site": "cross-site"}
    for cookie in (cross_site, stale):
        for header in (alice.bearer, {"X-API-Key": alice.api_key}):
            answer = service.ask("PATCH", "/resources/me/profile", headers=cookie | header, body={})
            assert answer.code != "cross_site_request"
            assert service.ask("GET", "/v1/me", headers=cookie | header).status == 200
        for wrong in ({"Authorization": "Bearer x"}, {"X-API-Key": "x"}):
            answer = service.ask("GET", "/v1/me", headers=cookie | wrong)
            assert (answer.status, answer.code) == (401, "invalid_token")


def test_every_401_has_a_challenge(service: Running):
    """HT-01, RFC 6750 section 3: without an error where no token was sent."""
    for path in ("/v1/me", "/api/users/me/", "/api/v1/me", "/resources/me/profile"):
        without = service.ask("GET", path)
        assert without.header("www-authenticate") == f'Bearer realm="oneself", {service.metadata}'
        bad = service.ask("GET", path, headers={"Authorization": "Bearer x"})
        challenge = f'Bearer realm="oneself", error="invalid_token", {service.metadata}'
        assert bad.header("www-authenticate") == challenge


def test_missing_scope_is_in_the_challenge(service: Running, alice: Account):
    """HT-01."""
    answer = service.ask(
        "PATCH", "/api/v1/me", headers={"X-API-Key": alice.api_key}, body={"first_name": "x"}
    )
    assert (answer.status, answer.code) == (403, "insufficient_scope")
    error = 'error="insufficient_scope", scope="me/profile:write"'
    challenge = f'Bearer realm="oneself", {error}, {service.metadata}'
    assert answer.header("www-authenticate") == challenge


@pytest.mark.parametrize("body", [b"", b"x", b"{}", b'{"first_name":"\\ud800"}'])
def test_missing_credential_is_rejected_before_the_body(service: Running, body: bytes):
    """HT-01."""
    answer = service.ask("PATCH", "/api/v1/me", body=body)
    assert (answer.status, answer.code) == (401, "not_authenticated")
