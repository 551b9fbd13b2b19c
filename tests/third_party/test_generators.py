"""openapi-generator accepts the document without flags, and its clients call the service.

`tox run -e third-party` runs these tests; the rules that follow from them are checked by default,
in tests/spec/test_operations.py.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.operator_acts import open_actors
from tests.support.service import started
from tests.third_party.generators import (
    BUILT,
    CLIENTS,
    GENERATOR,
    LANGUAGES,
    build,
    call_of,
    generate,
    run,
)
from tests.third_party.table import Results


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, results: Results) -> Path:
    """Return the folder of the clients; its folders have the generators' names."""
    folder = tmp_path_factory.mktemp("generated")
    process = generate(folder)
    output = process.stdout + process.stderr
    assert process.returncode == 0, output[-5000:]
    assert re.findall(r"^.*(?:ERROR|Exception).*$", output, re.MULTILINE) == []
    others = ", ".join(name for name in LANGUAGES if name not in CLIENTS)
    results.add(
        GENERATOR,
        f"clients for {', '.join(LANGUAGES)} generated without a flag or an error;"
        f" {others} generated only, since Debian lacks their libraries",
    )
    return folder


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Return a user's credentials at a running service, as environment variables."""
    with started(tmp_path_factory.mktemp("service")) as service, open_actors(service) as actors:
        user = actors.sign_up()
        yield {
            "ONESELF_URL": service.url,
            "EMAIL": user["email"],
            "SESSION": user["session_token"],
            "API_KEY": user["api_key"],
        }


@pytest.mark.parametrize("language", LANGUAGES)
def test_client_is_generated(language: str, generated: Path):
    """Clients C1: the generator's parser accepts the document."""
    sources = [path for path in (generated / LANGUAGES[language]).rglob("*") if path.is_file()]
    assert len(sources) > 100


@pytest.mark.parametrize("language", CLIENTS)
def test_generated_client_calls_the_service(
    language: str, generated: Path, credentials: Mapping[str, str], tmp_path: Path, results: Results
):
    """Clients C2: it compiles, and sends a session and an API key."""
    client = generated / LANGUAGES[language]
    build(language, client, tmp_path)
    built = call_of(language, client, tmp_path)
    output = run(*built.command, cwd=tmp_path, **credentials, **built.environment)
    assert output.split() == [credentials["EMAIL"]] * 2
    results.add(
        f"{GENERATOR}, the client for {language}",
        f"{BUILT[language]}; returns the current user by session and by API key",
    )
