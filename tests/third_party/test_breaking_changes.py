"""The version of the document follows SemVer 2.0.0 since the last release.

`openapi/released.yaml` is the last released document; see openapi/README.md. `redocly diff` decides
which changes are breaking. `tox run -e spec` runs these tests.
"""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from oneself.document import load_document
from tests.support.service import ROOT
from tests.third_party.tools import node_command

DOCUMENT = ROOT / "openapi" / "openapi.yaml"
RELEASED = ROOT / "openapi" / "released.yaml"
#: Each version in the changelog, newest first, and when it was released.
VERSIONS = re.findall(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def version_problem(base: Path, revision: Path, folder: Path) -> str:
    """Return redocly's objection to the version of a revision, or an empty string."""
    process = subprocess.run(
        [
            *node_command("ONESELF_REDOCLY"),
            *("diff", str(base), str(revision), "--fail-on=none", "--check-version"),
        ],
        # Outside the checkout: below our redocly.yaml, whose rules say nothing about changes, every
        # change would count as harmless.
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    output = process.stdout + process.stderr
    assert process.returncode in {0, 1}, output
    assert ("Diff passed" in output) == (process.returncode == 0), output
    return "" if process.returncode == 0 else output


def test_changelog_begins_with_the_document_version():
    assert VERSIONS[0][0] == load_document()["info"]["version"]


def test_released_document_has_the_last_released_version():
    released = [version for version, when in VERSIONS if when != "unreleased"]
    if not released:
        assert not RELEASED.exists(), "the changelog lists no release"
        return
    [version] = re.findall(r"^  version: (\S+)$", RELEASED.read_text(), re.MULTILINE)
    assert version == released[0]


def test_document_version_reflects_its_changes(tmp_path: Path):
    if not RELEASED.exists():
        pytest.skip("there is no release to compare with yet")
    assert version_problem(RELEASED, DOCUMENT, tmp_path) == ""


# Changes that redocly must recognise as breaking.


def narrow_a_maximum(document: Any) -> None:
    document["components"]["parameters"]["EventLimit"]["schema"]["maximum"] = 50


def remove_an_operation(document: Any) -> None:
    del document["paths"]["/v1/me/sessions"]["delete"]


def remove_a_path(document: Any) -> None:
    del document["paths"]["/v1/me/events"]


def require_a_field(document: Any) -> None:
    document["components"]["schemas"]["IptoLogInRequest"]["required"].append("cookie")


def make_a_field_optional(document: Any) -> None:
    document["components"]["schemas"]["IptoCurrentUser"]["required"].remove("roles")


def change_a_type(document: Any) -> None:
    schema = document["components"]["schemas"]["IptoCurrentUser"]["properties"]
    schema["is_platform_admin"] = {"type": "string", "maxLength": 5, "description": "A flag."}


def remove_a_credential(document: Any) -> None:
    document["paths"]["/v1/me"]["get"]["security"].remove({"apiKey": []})


def rename_an_operation(document: Any) -> None:
    document["paths"]["/v1/me"]["get"]["operationId"] = "ipto.getMe"


BREAKING: tuple[Callable[[Any], None], ...] = (
    narrow_a_maximum,
    remove_an_operation,
    remove_a_path,
    require_a_field,
    make_a_field_optional,
    change_a_type,
    remove_a_credential,
    rename_an_operation,
)


def add_an_optional_field(document: Any) -> None:
    schema = document["components"]["schemas"]["IptoLogInRequest"]["properties"]
    schema["device"] = {"type": "string", "maxLength": 20, "description": "A name."}


def answer_with_another_code(document: Any) -> None:
    document["components"]["schemas"]["RefusalCode"]["x-extensible-enum"].append("too_good")


def change_nothing(document: Any) -> None:
    assert document


def write_document(
    folder: Path, version: str, change: Callable[[Any], None] = change_nothing
) -> Path:
    document: dict[str, Any] = deepcopy(dict(load_document()))
    change(document)
    document["info"]["version"] = version
    path = folder / f"{change.__name__}-{version}.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("change", BREAKING, ids=lambda change: change.__name__)
def test_breaking_change_requires_a_major_version(change: Callable[[Any], None], tmp_path: Path):
    problem = version_problem(
        write_document(tmp_path, "1.2.3"), write_document(tmp_path, "1.3.0", change), tmp_path
    )
    assert "major bump (2.0.0)" in problem


MOVES: Mapping[tuple[Callable[[Any], None], str, str], bool] = {
    (narrow_a_maximum, "1.2.3", "2.0.0"): True,
    # Before 1.0.0 a minor version is enough for a breaking change (SemVer 2.0.0, item 4).
    (narrow_a_maximum, "0.2.3", "0.2.4"): False,
    (narrow_a_maximum, "0.2.3", "0.3.0"): True,
    (add_an_optional_field, "1.2.3", "1.2.4"): False,
    (add_an_optional_field, "1.2.3", "1.3.0"): True,
    # Contract section 6.5: it breaks no client.
    (answer_with_another_code, "1.2.3", "1.3.0"): True,
    (change_nothing, "1.2.3", "1.2.3"): True,
}


@pytest.mark.parametrize(
    ("change", "base", "revision", "enough"),
    [(*moved, enough) for moved, enough in MOVES.items()],
    ids=[f"{change.__name__} {base} {revision}" for change, base, revision in MOVES],
)
def test_version_change_is_sufficient_or_not(
    change: Callable[[Any], None], base: str, revision: str, *, enough: bool, tmp_path: Path
):
    problem = version_problem(
        write_document(tmp_path, base), write_document(tmp_path, revision, change), tmp_path
    )
    assert (problem == "") == enough
