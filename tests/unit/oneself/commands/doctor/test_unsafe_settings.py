"""Settings that are allowed one by one: which of them the doctor warns of together."""

import pytest

from oneself.commands.doctor.unsafe_settings import find_unsafe_settings
from oneself.settings import Settings

#: A deployment that is as it should be; each case below spoils one thing.
GOOD = {
    "PUBLIC_URL": "https://account.example.com",
    "TRUSTED_PROXIES": "10.0.0.7",
    "SMTP_URL": "smtps://mail.example.com",
    "ALLOW_HTTP": "true",
    "DATABASE_URL": "postgresql+psycopg://me@db.example.com/oneself?sslmode=verify-full",
}
LOCAL = "http://localhost:8080"


@pytest.fixture
def run_in_group(monkeypatch):
    def run_in_group(**settings):
        for name, value in settings.items():
            monkeypatch.setenv(f"ONESELF_{name}", value)
        return find_unsafe_settings(Settings())

    return run_in_group


def test_nothing_is_said_of_a_deployment_as_it_should_be(run_in_group):
    """A warning that always comes is read by nobody."""
    assert run_in_group(**GOOD).ok


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
def test_nothing_is_said_of_what_is_tried_out_on_this_machine(run_in_group, change):
    """As `tox run -e serve` begins, without mail and without a proxy."""
    assert run_in_group(**change).ok


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"PUBLIC_URL": "http://account.example.com"}, "ONESELF_PUBLIC_URL is plain http"),
        ({"PUBLIC_URL": LOCAL}, "ONESELF_ALLOW_HTTP serves plain http"),
        ({"TRUSTED_PROXIES": ""}, "ONESELF_TRUSTED_PROXIES is empty"),
        ({"SMTP_URL": ""}, "ONESELF_SIGNUP is open and ONESELF_SMTP_URL is not set"),
        (
            {"SMTP_URL": "", "SIGNUP": "closed", "EMAIL_CHANGE": "service"},
            "ONESELF_EMAIL_CHANGE is service",
        ),
        ({"THROTTLE_ACCOUNT": "1000000/1"}, "ONESELF_THROTTLE_ACCOUNT lets"),
        ({"THROTTLE_ACCOUNT_SOURCE": "100/60"}, "and its default 1,445"),
        ({"THROTTLE_SOURCE": "1000000/1"}, "ONESELF_THROTTLE_SOURCE lets"),
        ({"THROTTLE_SIGNUP": "1000000/1"}, "ONESELF_THROTTLE_SIGNUP lets"),
        ({"THROTTLE_MAIL": "1000000/1"}, "ONESELF_THROTTLE_MAIL lets"),
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
def test_each_danger_is_named_alone(run_in_group, change, named):
    """With what to do about it, and without a value that may be a secret."""
    finding = run_in_group(**{**GOOD, **change})
    assert not finding.ok
    assert named in finding.found
    assert ";" not in finding.found
    assert finding.to_do.startswith(
        ("Put a proxy", "Set ONESELF_", "Unset ONESELF_", "Add sslmode")
    )
    assert "canary" not in str(finding)


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
def test_what_is_not_dangerous_is_left_alone(run_in_group, change):
    """Less than the defaults, a network of this machine's own, the machine itself."""
    assert run_in_group(**{**GOOD, **change}).ok


def test_what_only_costs_is_said_and_is_no_problem(run_in_group):
    """Whoever holds each answer against the document wants to know why it is slower."""
    finding = run_in_group(**GOOD, VALIDATE_RESPONSES="true")
    assert finding.ok
    assert "ONESELF_VALIDATE_RESPONSES is on" in finding.found


def test_everybody_is_no_proxy(run_in_group):
    """The settings refuse it, so that there is nothing to warn of."""
    with pytest.raises(ValueError, match="never all of them"):
        run_in_group(**GOOD | {"TRUSTED_PROXIES": "0.0.0.0/0"})
