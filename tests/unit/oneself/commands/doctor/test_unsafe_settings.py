"""Unsafe combinations of settings, as reported by `doctor`."""

import pytest

from oneself.commands.doctor.unsafe_settings import find_unsafe_settings
from oneself.settings import Settings

#: Safe settings of a deployment; each case below makes one of them unsafe.
GOOD = {
    "PUBLIC_URL": "https://account.example.com",
    "TRUSTED_PROXIES": "10.0.0.7",
    "SMTP_URL": "smtps://mail.example.com",
    "ALLOW_HTTP": "true",
    "DATABASE_URL": "postgresql+psycopg://me@db.example.com/oneself?sslmode=verify-full",
}
LOCAL = "http://localhost:8080"


@pytest.fixture
def check(monkeypatch, tmp_path):
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("ONESELF_TEST_DATABASE_URL", raising=False)

    def check(**settings):
        for name, value in settings.items():
            monkeypatch.setenv(f"ONESELF_{name}", value)
        return find_unsafe_settings(Settings())

    return check


def test_safe_settings_pass(check):
    assert check(**GOOD).ok


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"SIGNUP": "closed"},
        {"THROTTLE_SIGNUP": "1000000/1"},
        {"EMAIL_CHANGE": "service"},
        {"PUBLIC_URL": "http://[::1]:8080"},
    ],
)
def test_local_trial_passes(check, change):
    """As `tox run -e serve` starts: without mail and without a reverse proxy."""
    assert check(**change).ok


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"PUBLIC_URL": "http://account.example.com"}, "ONESELF_PUBLIC_URL is plain http"),
        ({"PUBLIC_URL": LOCAL}, "ONESELF_ALLOW_HTTP serves plain http"),
        ({"TRUSTED_PROXIES": ""}, "ONESELF_TRUSTED_PROXIES is empty"),
        ({"SMTP_URL": ""}, "ONESELF_SIGNUP is open and ONESELF_SMTP_URL is not set"),
        (
            {"SMTP_URL": "", "SIGNUP": "closed", "EMAIL_CHANGE": "service"},
            "ONESELF_EMAIL_CHANGE is service",
        ),
        ({"PASSWORD_CLASSES": "false"}, "ONESELF_PASSWORD_MIN_LENGTH is below 15"),
        ({"THROTTLE_ACCOUNT": "1000000/1"}, "ONESELF_THROTTLE_ACCOUNT allows"),
        ({"THROTTLE_ACCOUNT_SOURCE": "100/60"}, "a day, the default 1,445"),
        ({"THROTTLE_SOURCE": "1000000/1"}, "ONESELF_THROTTLE_SOURCE allows"),
        ({"THROTTLE_SIGNUP": "1000000/1"}, "ONESELF_THROTTLE_SIGNUP allows"),
        ({"THROTTLE_MAIL": "1000000/1"}, "ONESELF_THROTTLE_MAIL allows"),
        ({"THROTTLE_WRITE": "1000000/1"}, "ONESELF_THROTTLE_WRITE allows"),
        *(
            ({"DATABASE_URL": f"postgresql+psycopg://me:canary@{rest}"}, "ONESELF_DATABASE_URL has")
            for rest in (
                "db.example.com/oneself",
                "db.example.com/oneself?sslmode=require",
                "192.0.2.7/oneself?sslmode=prefer",
                "[2001:db8::7]/oneself",
            )
        ),
    ],
)
def test_unsafe_combination_is_reported_alone(check, change, problem):
    """With a fix, and without a value that may be a secret."""
    result = check(**{**GOOD, **change})
    assert not result.ok
    assert problem in result.found
    assert ";" not in result.found
    assert result.to_do.startswith(
        ("Put an https", "Set ONESELF_", "Unset ONESELF_", "Add sslmode")
    )
    assert "canary" not in str(result)


@pytest.mark.parametrize(
    "change",
    [
        {"SMTP_URL": "", "SIGNUP": "closed"},
        {"THROTTLE_ACCOUNT": "500/3600", "THROTTLE_SOURCE": "1/1000000"},
        {"DATABASE_URL": "postgresql+psycopg://me@db.example.com/oneself?sslmode=verify-ca"},
        {"DATABASE_URL": "postgresql+psycopg://me@db/oneself"},
        {"DATABASE_URL": "postgresql+psycopg://me@127.0.0.1/oneself"},
        {"DATABASE_URL": "postgresql+psycopg:///oneself?host=/run/postgresql.d"},
        {"DATABASE_URL": ""},
        {"PUBLIC_URL": LOCAL, "ALLOW_HTTP": "false", "TRUSTED_PROXIES": "127.0.0.1"},
    ],
)
def test_safe_variation_passes(check, change):
    """Stricter limits, a private network, the local machine."""
    assert check(**{**GOOD, **change}).ok


def test_response_validation_is_mentioned_without_a_problem(check):
    result = check(**GOOD, VALIDATE_RESPONSES="true")
    assert result.ok
    assert "ONESELF_VALIDATE_RESPONSES is on" in result.found


def test_trusting_all_addresses_is_rejected(check):
    """The settings themselves reject it, so no check is needed."""
    with pytest.raises(ValueError, match="never all of them"):
        check(**GOOD | {"TRUSTED_PROXIES": "0.0.0.0/0"})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PASWORD_COST", "Did you mean ONESELF_PASSWORD_COST?"),
        ("password_csot", "Did you mean ONESELF_PASSWORD_COST?"),
        ("QQQ", "docs/settings.md lists all settings."),
    ],
)
def test_unknown_setting_is_a_problem_with_the_nearest_name(check, name, hint):
    """newcomer F11: also in a trial on this machine, and without its value."""
    result = check(**{name: "canary"})
    assert not result.ok
    assert result.found == f"ONESELF_{name} is not a setting, and is ignored"
    assert result.to_do == hint


def test_demo_users_are_a_problem_of_a_public_service(check, tmp_path):
    """newcomer F9: a demo must not become a deployment."""
    (tmp_path / "demo.json").touch()
    assert check().ok
    assert "demo users" in check(**GOOD).found
