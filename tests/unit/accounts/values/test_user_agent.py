"""Descriptions of programs by their user agents."""

import pytest

from accounts.values.user_agent import describe_user_agent

_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "description"),
    [
        (f"{_WINDOWS} {_WEBKIT} Chrome/140.0.0.0 Safari/537.36", "Chrome, Windows"),
        (
            f"{_WINDOWS} {_WEBKIT} Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
            "Microsoft Edge, Windows",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox, Linux",
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) {_WEBKIT} Safari",
            "Safari, iPhone",
        ),
        (f"Mozilla/5.0 (Linux; Android 15; Pixel 9) {_WEBKIT} Chrome/140", "Chrome, Android"),
        (f"{_WINDOWS} {_WEBKIT} Chrome/140.0.0.0 Safari/537.36 Vivaldi/7.5", "Vivaldi, Windows"),
        (f"{_WINDOWS} {_WEBKIT} Chrome/140 YaBrowser/25 Safari", "Yandex Browser, Windows"),
        ("Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18", "Opera, Windows"),
        ("Python-urllib/3.13", "Python"),
        ("Go-http-client/2.0", "Go"),
        ("curl/8.14.1", "curl"),
        ("python-httpx/0.28", "Python"),
        ("", ""),
        (None, ""),
    ],
)
def test_program_and_system_are_named(user_agent, description):
    assert describe_user_agent(user_agent) == description


def test_no_text_of_the_client_is_in_the_description():
    """EM-15, EM-16: it is mailed, and an attacker chooses the header."""
    hostile = "Your account is suspended: https://evil.example/ <b>\r\nBcc: a@b.example Firefox/1"
    assert describe_user_agent(hostile) == "Firefox"
