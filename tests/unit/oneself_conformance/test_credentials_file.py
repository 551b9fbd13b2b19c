"""Credentials file: malformed files are rejected with a message that contains no secret."""

import json
from pathlib import Path

import pytest

from oneself_conformance.credentials_file import (
    WrongCredentials,
    WrongUrl,
    open_deployment,
    read_credentials,
    write_credentials,
)

SECRET = "sess_8xV2pQ0mZr4Lw9Tn6Ys1Kc5Hb7Jd3Gf0Qa2We4Rt6Yu3IlpB7"


def write_file(folder: Path, content: object) -> Path:
    path = folder / "people.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_credentials_file_maps_names_to_users(tmp_path: Path):
    users = {"base": {"session_token": SECRET}, "sso_user": {"email": "dora@example.com"}}
    assert read_credentials(write_file(tmp_path, users)) == users


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ([], 'has no user "base"'),
        ({"other": {}}, 'has no user "base"'),
        ({"base": SECRET}, "base must be an object of strings"),
        ({"base": {"session_token": [SECRET]}}, "base must be an object of strings"),
    ],
)
def test_malformed_credentials_file_is_rejected(tmp_path: Path, content: object, message: str):
    with pytest.raises(WrongCredentials) as error:
        read_credentials(write_file(tmp_path, content))
    assert message in str(error.value)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("url", ["https://account.example.com", "http://[::1]:8080/"])
def test_origin_opens_deployment(url: str):
    assert open_deployment(url, {"base": {}}).url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "account.example.com",
        "ftp://a.example",
        "https://",
        "https://a.example/b",
        "https://a.example:99999",
        "https://[a.example",
        "",
    ],
)
def test_malformed_origin_is_rejected(url: str):
    with pytest.raises(WrongUrl, match="is not an address without a path"):
        open_deployment(url, {"base": {}})


def test_written_credentials_are_private(tmp_path: Path):
    path = tmp_path / "users.json"
    write_credentials(path, {"base": {"session_token": SECRET}})
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_credentials(path)["base"]["session_token"] == SECRET
