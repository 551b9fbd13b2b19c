"""A file of credentials is taken whole, or refused with a sentence that has no secret in it."""

import json
from pathlib import Path

import pytest

from oneself.conformance.credentials_file import (
    WrongCredentials,
    WrongUrl,
    open_deployment,
    read_credentials,
)

SECRET = "sess_8xV2pQ0mZr4Lw9Tn6Ys1Kc5Hb7Jd3Gf0Qa2We4Rt6Yu3IlpB7"


def written(folder: Path, content: object) -> Path:
    path = folder / "people.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_people_of_a_good_file_are_known_by_their_names(tmp_path: Path):
    people = {"base": {"session_token": SECRET}, "sso_user": {"email": "dora@example.com"}}
    assert read_credentials(written(tmp_path, people)) == people


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no JSON"),
        ([], 'names nobody as "base"'),
        ({"other": {}}, 'names nobody as "base"'),
        ({"base": SECRET}, "base must be an object of texts"),
        ({"base": {"session_token": [SECRET]}}, "base must be an object of texts"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: object, says: str):
    with pytest.raises(WrongCredentials) as refused:
        read_credentials(written(tmp_path, content))
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("url", ["https://account.example.com", "http://[::1]:8080/"])
def test_an_origin_can_be_asked(tmp_path: Path, url: str):
    people = written(tmp_path, {"base": {}})
    assert open_deployment(url, people).url == url.rstrip("/")


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
def test_what_is_no_origin_cannot(tmp_path: Path, url: str):
    with pytest.raises(WrongUrl, match="is no address such as"):
        open_deployment(url, written(tmp_path, {"base": {}}))
