"""Tests of the session cookie: when it is set, and when it is accepted."""

from collections.abc import Mapping

import pytest

from tests.http.running import Account, Running
from tests.http.wire import Answer

OURS = {"Sec-Fetch-Site": "same-origin"}
CLEARED = "__Host-oneself_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"


def _log_in(service: Running, alice: Account, headers: Mapping[str, str | None] | None) -> Answer:
    body = {"email": alice.email, "password": alice.password, "cookie": True}
    return service.ask("POST", "/v1/auth/login", headers=headers, body=body)


def test_login_can_set_an_http_only_cookie(service: Running, alice: Account):
    """SE-08."""
    answer = _log_in(service, alice, OURS)
    assert answer.status == 200
    cookie, *attributes = (answer.header("set-cookie") or "").split("; ")
    name, _, token = cookie.partition("=")
    assert name == "__Host-oneself_session"
    [max_age] = [text for text in attributes if text.startswith("Max-Age=")]
    assert set(attributes) - {max_age} == {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"}
    assert 29 * 86_400 < int(max_age.removeprefix("Max-Age=")) <= 30 * 86_400
    assert token.encode() not in answer.body
    assert "session_token" not in answer.json["data"]
    headers = {"Cookie": f"theme=dark; {cookie}; lang=en"}
    assert service.ask("GET", "/v1/me", headers=headers).status == 200


def test_login_sets_no_cookie_by_default(service: Running, alice: Account):
    """SE-08."""
    body = {"email": alice.email, "password": alice.password}
    answer = service.ask("POST", "/v1/auth/login", headers=OURS, body=body)
    assert answer.header("set-cookie") is None
    assert answer.json["data"]["session_token"].startswith("sess_")


#: Headers about the origin of a request, and whether it counts as the same origin.
PLACES: list[tuple[dict[str, str | None], bool]] = [
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": ""}, False),
    ({"Sec-Fetch-Site": "Same-Origin"}, False),
    ({}, False),
    ({"Origin": "OURS"}, True),
    ({"Origin": "null"}, False),
    ({"Origin": "https://evil.example"}, False),
    ({"Origin": "http://localhost"}, False),
    ({"Origin": "http://localhost:1"}, False),
    ({"Origin": "OURS.evil.example"}, False),
    ({"Origin": "OURS/"}, False),
    ({"Origin": "OURS", "Sec-Fetch-Site": "cross-site"}, False),
    ({"Referer": "OURS/page"}, False),
]


def _from(service: Running, place: Mapping[str, str | None]) -> dict[str, str | None]:
    origin = f"http://localhost:{service.port}"
    return {name: value and value.replace("OURS", origin) for name, value in place.items()}


@pytest.mark.parametrize(("place", "is_same_origin"), PLACES, ids=str)
def test_cookie_is_set_for_the_same_origin_only(
    service: Running, alice: Account, place: dict[str, str | None], *, is_same_origin: bool
):
    """SE-09: or another site could log a user in to an attacker's account."""
    answer = _log_in(service, alice, _from(service, place))
    if is_same_origin:
        assert answer.status == 200
        assert answer.header("set-cookie")
    else:
        assert (answer.status, answer.code) == (403, "cross_site_request")
        assert answer.header("set-cookie") is None


@pytest.mark.parametrize(("place", "is_same_origin"), PLACES, ids=str)
def test_cookie_writes_from_the_same_origin_only(
    service: Running, alice: Account, place: dict[str, str | None], *, is_same_origin: bool
):
    """SE-09: for each unsafe method in each dialect; GET always works."""
    headers = {**alice.cookie, **_from(service, place)}
    for method, path, body in (
        ("PUT", "/resources/me/settings", {}),
        ("PATCH", "/api/v1/me", {}),
        ("DELETE", "/v1/me/sessions/ses_000000000000", None),
        ("POST", "/api/users/me/token/regenerate/", None),
        ("POST", "/v1/me/password", {"current_password": "x", "new_password": "x"}),
    ):
        if is_same_origin and path.endswith("/regenerate/"):
            continue
        answer = service.ask(method, path, headers=headers, body=body)
        if is_same_origin:
            assert answer.status in {200, 400, 404}
        else:
            assert (answer.status, answer.code) == (403, "cross_site_request")
    assert service.ask("GET", "/v1/me", headers=headers).status == 200
    assert service.ask("HEAD", "/v1/me", headers=headers).status == 200


def test_bearer_is_accepted_from_any_origin(service: Running, alice: Account):
    """SE-09: no browser adds it by itself."""
    headers = {**alice.bearer, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert service.ask("PATCH", "/api/v1/me", headers=headers, body={}).status == 200


def test_form_of_another_site_is_rejected(service: Running, alice: Account):
    """SE-09: no operation accepts the content types of forms, with or without a cookie."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {**alice.cookie, **OURS, "Content-Type": kind}
        answer = service.ask("PUT", "/resources/me/settings", headers=headers, body=b'{"a":1}')
        assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_logout_ends_the_session_and_clears_its_cookie(service: Running, alice: Account):
    """SE-03, SE-08."""
    cookie = (_log_in(service, alice, OURS).header("set-cookie") or "").partition(";")[0]
    headers = {"Cookie": cookie, **OURS}
    other_site = {"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}
    assert service.ask("POST", "/v1/auth/logout", headers=other_site).status == 403
    answer = service.ask("POST", "/v1/auth/logout", headers=headers)
    assert (answer.status, answer.header("set-cookie")) == (200, CLEARED)
    assert service.ask("GET", "/v1/me", headers=headers).status == 401
    token = cookie.partition("=")[2]
    bearer = {"Authorization": f"Bearer {token}"}
    assert service.ask("GET", "/v1/me", headers=bearer).status == 401


def test_logout_with_a_bearer_sets_no_cookie(service: Running, alice: Account):
    """SE-08."""
    body = {"email": alice.email, "password": alice.password}
    logged_in = service.ask("POST", "/v1/auth/login", body=body)
    bearer = {"Authorization": f"Bearer {logged_in.json['data']['session_token']}"}
    answer = service.ask("POST", "/v1/auth/logout", headers=bearer)
    assert (answer.status, answer.header("set-cookie")) == (200, None)


def test_public_operation_ignores_cookies(service: Running, alice: Account):
    """SE-09, SE-10: valid or not, one or many."""
    mess = {"Cookie": f"__Host-oneself_session=x; {alice.cookie['Cookie']}"}
    assert service.ask("GET", "/healthz", headers=mess).status == 200
    body = {"email": alice.email, "password": alice.password}
    assert service.ask("POST", "/v1/auth/login", headers=mess, body=body).status == 200


@pytest.mark.parametrize(
    "cookie",
    [
        "oneself_session=TOKEN",
        "__host-oneself_session=TOKEN",
        "__Secure-oneself_session=TOKEN",
        "x__Host-oneself_session=TOKEN",
        "__Host-oneself_session",
        "x=__Host-oneself_session=TOKEN",
        "",
        ";;;=;",
    ],
)
def test_other_cookie_is_no_credential(service: Running, alice: Account, cookie: str):
    """SE-08: `__Host-` keeps a sibling domain from setting it."""
    headers = {"Cookie": cookie.replace("TOKEN", alice.session)}
    answer = service.ask("GET", "/v1/me", headers=headers)
    assert (answer.status, answer.code) == (401, "not_authenticated")


# Hyperclast's web application

BROWSER = "/api/browser/v1/auth/"


def _log_in_page(service: Running, alice: Account, **more: str) -> dict[str, str]:
    """Log in as Hyperclast's page does; return the cookies by name."""
    body = {"email": alice.email, "password": alice.password}
    answer = service.ask("POST", f"{BROWSER}login", headers={**OURS, **more}, body=body)
    assert answer.status == 200
    assert "sess_" not in answer.body.decode()
    lines = answer.every("set-cookie")
    assert ["HttpOnly" in line for line in lines] == [True, False]
    assert all("; Secure; SameSite=Lax" in line and "; Path=/; " in line for line in lines)
    return dict(line.partition(";")[0].split("=", 1) for line in lines)


def test_page_logs_out_with_the_csrf_token_of_its_session(service: Running, alice: Account):
    """SE-03, SE-09, clients C5: the token of another session is none."""
    ours, other = _log_in_page(service, alice), _log_in_page(service, alice)
    cookie = "; ".join(f"{name}={value}" for name, value in ours.items())
    headers = {"Cookie": cookie, "Content-Type": "application/json"}
    session = f"{BROWSER}session"
    token = {"X-CSRFToken": ours["csrftoken"]}
    for more in (
        OURS,
        {**OURS, "X-CSRFToken": ""},
        {**OURS, "X-CSRFToken": other["csrftoken"]},
        token,
        {**token, "Sec-Fetch-Site": "same-site"},
    ):
        answer = service.ask("DELETE", session, headers={**headers, **more})
        assert (answer.status, answer.code) == (403, "cross_site_request")
    shown = service.ask("GET", session, headers={**headers, **OURS})
    assert shown.status == 200
    assert (shown.header("set-cookie") or "").startswith(f"csrftoken={ours['csrftoken']};")
    answer = service.ask("DELETE", session, headers={**headers, **OURS, **token})
    assert answer.status == 200
    assert [line.partition(";")[0] for line in answer.every("set-cookie")] == [
        "__Host-oneself_session=",
        "csrftoken=",
    ]
    assert service.ask("GET", session, headers={**headers, **OURS}).status == 401


def test_page_login_takes_no_session_of_the_caller(service: Running, alice: Account):
    """SE-02, clients C5: neither the session nor the CSRF token is kept over a login."""
    first = _log_in_page(service, alice)
    cookie = "; ".join(f"{name}={value}" for name, value in first.items())
    second = _log_in_page(service, alice, Cookie=cookie)
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_cookie_registers_no_device(service: Running, alice: Account):
    """SE-08, clients C5: the response would show a script a session token."""
    headers = {**alice.cookie, **OURS}
    answer = service.ask(
        "POST", "/api/v1/users/me/devices/", headers=headers, body={"client_id": "phone"}
    )
    assert (answer.status, answer.code) == (403, "credential_not_accepted")
