"""Settings from the environment."""

import os
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr, ValidationError

from accounts.limits import Limits
from oneself.settings import Settings
from oneself.settings_parsers import is_loopback


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ONESELF_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings_of(monkeypatch):
    """Builds settings from variables, which are named without their prefix."""

    def settings_of(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(f"ONESELF_{name.upper()}", value)
        return Settings()

    return settings_of


def test_every_setting_has_a_default(settings_of):
    """The defaults of limits are those of `Limits`."""
    settings = settings_of()
    assert settings.limits == Limits()
    assert settings.secret_key is None
    assert settings.known_hosts == {"localhost", "127.0.0.1", "[::1]"}


def test_no_secret_has_a_default():
    """OP-04."""
    for name, field in Settings.model_fields.items():
        if any(word in name for word in ("secret", "key", "token")) and name != "api_key_brand":
            assert field.default is None or isinstance(field.default, int), name


def test_every_setting_has_a_description():
    """docs/settings.md is generated from them."""
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "postgresql://alice:canary@db/oneself"),
        ("database_url", "canary"),
        ("public_url", "ftp://canary.example"),
        ("public_url", "canary"),
        ("extra_hosts", "canary/"),
        ("cors_origins", "canary"),
        ("signup", "canary"),
        ("validate_responses", "canary"),
        ("body_bytes", "canary"),
        ("body_bytes", "1023"),
        ("body_bytes", "16777217"),
        ("body_seconds", "0"),
        ("body_seconds", "nan"),
        ("head_seconds", "15.5"),
        ("drain_seconds", "301"),
        ("database_threads", "0"),
        ("password_threads", "65"),
        ("password_queue", "-1"),
        ("password_cost", "9"),
        ("password_cost", "17"),
        ("password_scheme", "canary"),
        ("password_min_length", "7"),
        ("password_change_ends", "canary"),
        ("session_days", "366"),
        ("session_idle_minutes", "4"),
        ("session_idle_minutes", "525601"),
        ("api_key_days", "0"),
        ("api_key_brand", "Canary"),
        ("api_key_brand", "canary_"),
        ("api_key_brand", "canary\n"),
        ("allow_http", "canary"),
    ],
)
def test_invalid_setting_is_named_and_its_value_hidden(settings_of, name, value):
    """The error goes to a log, and the value may be a password (OP-04, LO-01)."""
    with pytest.raises(ValidationError) as error:
        settings_of(**{name: value})
    assert name in str(error.value)
    assert "canary" not in str(error.value)
    assert "input_value" not in str(error.value)


def test_secret_is_hidden_in_repr(settings_of):
    """LO-01."""
    assert "canary" not in repr(settings_of(secret_key="canary" * 10))


def test_unknown_setting_is_ignored(settings_of):
    """A newer version's setting does not stop an older one."""
    settings_of(tomorrow="1")


def test_settings_are_immutable(settings_of):
    """They are read once, at the start."""
    with pytest.raises(ValidationError):
        settings_of().allow_http = True


def test_database_is_in_the_data_folder_by_default(settings_of):
    """A path with four slashes is absolute."""
    assert settings_of(data_dir="/srv/data").location == Path("/srv/data/oneself.sqlite3")
    assert settings_of(database_url="sqlite:///here.db").location == Path("here.db")
    assert settings_of(database_url="sqlite:////srv/x.db").location == Path("/srv/x.db")


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("https://Accounts.Example", "accounts.example", "https://accounts.example"),
        ("https://accounts.example:443/", "accounts.example", "https://accounts.example"),
        ("http://accounts.example:8080/", "accounts.example", "http://accounts.example:8080"),
        ("https://bücher.example", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:8080", "[::1]", "http://[::1]:8080"),
    ],
)
def test_public_url_gives_host_and_origin(settings_of, url, host, origin):
    """In the form in which browsers send them (HT-10, SE-09)."""
    settings = settings_of(public_url=url)
    assert host in settings.known_hosts
    assert settings.public_origin == origin


@pytest.mark.parametrize(
    "url",
    [
        "https://me:canary@accounts.example",
        "https://canary@accounts.example/",
        "https://:canary@accounts.example/",
        "https://accounts.example/canary",
        "https://accounts.example//",
        "https://accounts.example/?canary=1",
        "https://accounts.example?",
        "https://accounts.example/#canary",
    ],
)
def test_public_url_with_more_than_an_origin_is_rejected(settings_of, url):
    """LO-01: it is published, with any password in it, and without its path."""
    rule = "must have a scheme, a host and a port at most"
    with pytest.raises(ValidationError, match=rule) as error:
        settings_of(public_url=url)
    assert "public_url" in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("canary", "must be addresses or networks, separated by commas"),
        ("10.0.0.1 10.0.0.2", "must be addresses or networks, separated by commas"),
        ("10.0.0.0/33", "must be addresses or networks, separated by commas"),
        ("0.0.0.0/0", "/8 and narrower"),
        ("::1,10.0.0.0/7", "/8 and narrower"),
        ("10.0.0.1/7", "/8 and narrower"),
        ("10.0.0.1/8", "by their first address"),
        ("::1,fd00::1/64", "by their first address"),
    ],
)
def test_unusable_trusted_proxies_are_rejected(settings_of, text, rule):
    """The message has the rule that is broken, and no other."""
    with pytest.raises(ValidationError, match=rule) as error:
        settings_of(trusted_proxies=text)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_empty_setting_counts_as_unset(settings_of, name):
    """As compose passes it on; an empty path would mean the working directory."""
    plain = settings_of()
    empty = settings_of(**{name: ""})
    assert empty == plain
    assert empty.model_fields_set == set()


def test_loopback_is_always_a_known_host(settings_of):
    """A client on the machine need not know the public name."""
    known = settings_of(public_url="https://accounts.example").known_hosts
    assert known == {"accounts.example", "localhost", "127.0.0.1", "[::1]"}


def test_settings_become_limits(settings_of):
    settings = settings_of(
        password_min_length="15",
        password_scheme="argon2id",
        password_cost="13",
        password_change_ends="others",
        session_days="1",
        session_idle_minutes="15",
        api_key_days="2",
        api_key_brand="acme",
        signup="closed",
    )
    assert settings.limits == Limits(
        password_min_length=15,
        password_scheme="argon2id",
        password_cost=13,
        password_change_ends_other_sessions=True,
        session_lifetime=timedelta(days=1),
        session_idle_timeout=timedelta(minutes=15),
        api_key_lifetime=timedelta(days=2),
        api_key_brand="acme",
        signup_open=False,
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 # nothing listens on it here
        ("::", False),
        ("192.168.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_recognised(host, expected):
    """Plain HTTP is served there without a setting (OP-04)."""
    assert is_loopback(host) is expected


def test_database_can_be_a_postgresql_server(settings_of):
    """Its password is hidden when settings are printed."""
    settings = settings_of(database_url="postgresql+psycopg://me:canary@db.example.com/accounts")
    assert settings.location.password == "canary"
    assert (settings.location.host, settings.location.database) == ("db.example.com", "accounts")
    assert "canary" not in repr(settings) + str(settings.location)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://me:canary@db/accounts",
        "postgresql://me:canary@db/accounts",
        "postgresql+asyncpg://me:canary@db/accounts",
        "mysql://me:canary@db/accounts",
        "postgresql+psycopg://me:canary@db",
    ],
)
def test_other_database_urls_are_rejected(settings_of, url):
    """Also without the name of a database; the message hides the password."""
    with pytest.raises(ValidationError, match=r"must (begin with|name a database)") as error:
        settings_of(database_url=url)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("port", ["port", "", "0", "65536", "5432x", "-1"])
def test_invalid_database_port_is_rejected(settings_of, port):
    """The message has the rule that is broken, and no other."""
    with pytest.raises(ValidationError, match=r"must have a port from 1 to 65535") as error:
        settings_of(database_url=f"postgresql+psycopg://me:canary@db:{port}/accounts")
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ("sslmod=canary", "must have no options but those of libpq and prepare_threshold"),
        ("sslmode=canary", "must have disable, allow, .* as its sslmode"),
        ("sslmode=require&sslmode=verify-full", "must have each option once"),
        ("connect_timeout=canary", "must have a whole number of seconds as its connect_timeout"),
        ("prepare_threshold=canary", "must have none or a whole number as its prepare_threshold"),
        ("prepare_threshold=-1", "must have none or a whole number as its prepare_threshold"),
        ("autocommit=canary", "must have no options but those of libpq"),
    ],
)
def test_invalid_database_option_is_rejected_at_the_start(settings_of, options, rule):
    """LO-01: before the first connection, and without its value."""
    with pytest.raises(ValidationError, match=rule) as error:
        settings_of(database_url=f"postgresql+psycopg://me:canary@db/accounts?{options}")
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ("host=canary&host=b&port=1&port=2", "must name several servers as"),
        ("host=canary:1&host=b:2&port=5", "must name several servers as"),
        ("host=canary:x&host=b:2", "must name several servers as"),
        ("host=canary,b&port=1", "must name several servers as"),
        ("host=::1&host=::2", "must name several servers as"),
        ("port=1&port=2", "must name several servers as"),
        ("host=canary:65536&host=b:2", "must have a port from 1 to 65535"),
        ("host=canary,b&port=0,2", "must have a port from 1 to 65535"),
    ],
)
def test_invalid_list_of_servers_is_rejected_at_the_start(settings_of, options, rule):
    """DB-12, reliability finding 12: a sentence instead of the dialect's traceback."""
    with pytest.raises(ValidationError, match=rule) as error:
        settings_of(database_url=f"postgresql+psycopg:///accounts?{options}")
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        "sslmode=verify-full&sslrootcert=system&connect_timeout=3&prepare_threshold=none",
        "options=-c%20statement_timeout%3D60s&prepare_threshold=5",
        "host=one:5432&host=other:5433&target_session_attrs=read-write",
        "host=one,other&port=5432,5433&target_session_attrs=read-write&connect_timeout=3",
        "host=one&host=other",
        "host=/run/postgresql",
    ],
)
def test_libpq_options_are_accepted(settings_of, options):
    assert settings_of(database_url=f"postgresql+psycopg:///accounts?{options}").location.query


@pytest.mark.parametrize(
    "url",
    ["sqlite:///:memory:", "sqlite:///%3Amemory%3A", "sqlite:///canary/:memory:", "sqlite:///"],
)
def test_in_memory_database_is_rejected(settings_of, url):
    """Each thread would have a database of its own."""
    with pytest.raises(ValidationError, match="must name a file"):
        settings_of(database_url=url)


@pytest.mark.parametrize("url", ["sqlite:////srv/x.db?timeout=5", "sqlite:////srv/canary.db?"])
def test_options_of_a_sqlite_url_are_rejected(settings_of, url):
    """They would become a part of the file's name in some places."""
    with pytest.raises(ValidationError, match=r"must have a path and no options") as error:
        settings_of(database_url=url)
    assert "database_url" in str(error.value)
    assert "canary" not in str(error.value)


def test_path_of_a_sqlite_url_is_percent_decoded(settings_of):
    """So that it can contain any character."""
    url = "sqlite:////srv/my%20data%3F/%25.db"
    assert settings_of(database_url=url).location == Path("/srv/my data?/%.db")


def test_leaked_passwords_are_read_from_a_file(tmp_path):
    """PW-10: one per line, compared without case; none without a file."""
    path = tmp_path / "leaked.txt"
    path.write_text("Password1\n\nÉTÉ2024été\n", encoding="utf-8")
    assert Settings(password_blocklist=path).limits.leaked_passwords == {"password1", "été2024été"}
    assert Settings().limits.leaked_passwords == frozenset()


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe"])
def test_unreadable_password_list_is_rejected(tmp_path, content):
    """PW-10: the service does not start with it."""
    path = tmp_path / "leaked.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValidationError, match="must"):
        Settings(password_blocklist=path)


def test_metrics_address_off_loopback_needs_metrics_remote(settings_of):
    """OP-11: metrics are served without authentication."""
    assert settings_of().metrics_listener is None
    assert settings_of(metrics_address="127.0.0.1:9464").metrics_listener == ("127.0.0.1", 9464)
    assert settings_of(metrics_address="[::1]:9464").metrics_listener == ("::1", 9464)
    for text in ("0.0.0.0:9464", "[::]:9464", "metrics.example.com:9464"):
        with pytest.raises(ValidationError, match="ONESELF_METRICS_REMOTE"):
            settings_of(metrics_address=text)
    for text in ("9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", ":9464"):
        with pytest.raises(ValidationError, match="must be an address and a port"):
            settings_of(metrics_address=text)
    remote = settings_of(metrics_address="metrics.example.com:9464", metrics_remote="true")
    assert remote.metrics_listener == ("metrics.example.com", 9464)


SECRETS = {
    "database_url": "postgresql+psycopg://oneself:canary@db/oneself",
    "secret_key": "canary",
    "secret_key_former": "canary,other",
    "smtp_url": "smtps://oneself:canary@mail.example",
}


@pytest.fixture
def secret_file(tmp_path):
    """Writes a file that only its owner can read."""

    def write(text, mode=0o600):
        path = tmp_path / "secret"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


@pytest.mark.parametrize(("name", "value"), SECRETS.items())
def test_secret_is_read_from_a_file(settings_of, secret_file, name, value):
    """OP-04, attack finding 22: the environment of a process can be read in /proc."""
    settings = settings_of(**{f"{name}_file": secret_file(f"{value}\n")})
    assert getattr(settings, name).get_secret_value() == value
    assert "canary" not in repr(settings)


def test_every_secret_can_be_in_a_file():
    """OP-04, attack finding 22."""
    annotations = {name: field.annotation for name, field in Settings.model_fields.items()}
    assert {name for name, kind in annotations.items() if SecretStr in get_args(kind)} == set(
        SECRETS
    )


def test_only_one_newline_is_not_part_of_a_secret(settings_of, secret_file):
    settings = settings_of(secret_key_file=secret_file(" canary \n\n"))
    assert settings.secret_key.get_secret_value() == " canary \n"
    settings = settings_of(secret_key_file=secret_file("canary\r\n"))
    assert settings.secret_key.get_secret_value() == "canary"


def test_secret_in_two_places_is_rejected(settings_of, secret_file):
    """OP-04, attack finding 22: one of them would be ignored."""
    rule = "must not be set beside ONESELF_SECRET_KEY_FILE"
    with pytest.raises(ValidationError, match=rule) as error:
        settings_of(secret_key_file=secret_file("canary"), secret_key="canary")
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o602, 0o601])
def test_secret_file_of_others_is_rejected(settings_of, secret_file, name, mode):
    """OP-04, attack finding 22."""
    with pytest.raises(ValidationError, match="other users cannot read: run chmod 600") as error:
        settings_of(**{f"{name}_file": secret_file(SECRETS[name], mode)})
    assert [each["loc"] for each in error.value.errors()] == [(f"{name}_file",)]
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(("mode", "accepted"), [(0o440, True), (0o444, False), (0o460, False)])
def test_group_may_read_a_secret_file_of_another_user(
    settings_of, secret_file, monkeypatch, mode, accepted
):
    """OP-04: systemd and Kubernetes give a service files of root like that."""
    path = secret_file("canary", mode)
    owner = Path(path).stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if accepted:
        assert settings_of(secret_key_file=path).secret_key.get_secret_value() == "canary"
        return
    with pytest.raises(ValidationError, match="other users cannot read"):
        settings_of(secret_key_file=path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", None])
def test_unusable_secret_file_is_rejected(settings_of, tmp_path, content):
    """OP-04: never as if there were no secret."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(ValidationError, match=r"must be a (text )?file") as error:
        settings_of(secret_key_file=str(path))
    assert [each["loc"] for each in error.value.errors()] == [("secret_key_file",)]


def test_invalid_value_in_a_file_is_reported_by_its_setting(settings_of, secret_file):
    """LO-01: the database's name is the rule's subject, and its value is not repeated."""
    with pytest.raises(ValidationError, match="must begin with") as error:
        settings_of(database_url_file=secret_file("canary"))
    assert [each["loc"] for each in error.value.errors()] == [("database_url",)]
    assert "canary" not in str(error.value)


def test_extra_hosts_are_known(settings_of):
    """HT-10: in the form in which clients send them."""
    settings = settings_of(extra_hosts="oneself, Accounts.Internal,bücher.example,10.0.0.1,[::2]")
    assert settings.known_hosts - settings_of(extra_hosts="").known_hosts == {
        *("oneself", "accounts.internal", "xn--bcher-kva.example", "10.0.0.1", "[::2]")
    }


def test_cors_origins_are_those_of_browsers(settings_of):
    """SE-09, clients C6."""
    text = "https://app.example.com, http://localhost:5173,http://[::1]:3000,"
    origins = {"https://app.example.com", "http://localhost:5173", "http://[::1]:3000"}
    assert settings_of(cors_origins=text).allowed_origins == origins
    assert settings_of(cors_origins="").allowed_origins == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        *("*", "null", "https://*", "https://*.canary.example", "canary.example", "//canary"),
        *("https://canary.example/", "https://canary.example/app", "https://canary.example?"),
        *("https://Canary.example", "https://canary.example:443", "http://canary.example:80"),
        *("https://me@canary.example", "https://:@canary.example", "ftp://canary.example"),
        *("https://b\u00fccher.example", "https://canary.example#", "https://canary.example:"),
        *("HTTPS://canary.example", "https://canary.example:0443", "https://canary example"),
    ],
)
def test_other_cors_origins_are_rejected(settings_of, text):
    """SE-09: an origin that browsers write in another way would never match."""
    with pytest.raises(ValidationError, match="must be origins as browsers send them") as e:
        settings_of(cors_origins=f"https://app.example.com,{text}")
    assert "canary" not in str(e.value).lower()


@pytest.mark.parametrize(
    "text",
    [
        *("canary:8080", "canary:80", "https://canary", "canary/", "canary/x", "me@canary"),
        *("*.canary.example", "*", "a canary", "canary?", "canary#", "::1"),
    ],
)
def test_extra_hosts_are_names_only(settings_of, text):
    """HT-10: a name with more would never match."""
    with pytest.raises(
        ValidationError, match="must be host names without scheme, port or path"
    ) as e:
        settings_of(extra_hosts=f"accounts.example,{text}")
    assert "canary" not in str(e.value)
