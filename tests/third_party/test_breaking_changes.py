"""The version of the document moves as its changes since the last release demand (SemVer 2.0.0).

`openapi/released.yaml` is the document as it was released last; openapi/README.md says how it comes
to be. What a change breaks, `redocly diff` judges. `tox run -e document` runs this.
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


def objections(base: Path, revision: Path, folder: Path) -> str:
    """What there is against the version of a revision; nothing, if it has moved as it must."""
    ran = subprocess.run(
        [
            *node_command("ONESELF_REDOCLY"),
            *("diff", str(base), str(revision), "--fail-on=none", "--check-version"),
        ],
        # Elsewhere than in the checkout: below our redocly.yaml, which extends a set of rules that
        # has none about changes, each change would be harmless.
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode in {0, 1}, said
    assert ("Diff passed" in said) == (ran.returncode == 0), said
    return "" if ran.returncode == 0 else said


def test_the_changelog_begins_with_the_version_of_the_document():
    assert VERSIONS[0][0] == load_document()["info"]["version"]


def test_what_was_released_last_is_kept():
    released = [version for version, when in VERSIONS if when != "unreleased"]
    if not released:
        assert not RELEASED.exists(), "the changelog knows of no release"
        return
    [version] = re.findall(r"^  version: (\S+)$", RELEASED.read_text(), re.MULTILINE)
    assert version == released[0]


def test_the_version_moves_as_the_changes_demand(tmp_path: Path):
    if not RELEASED.exists():
        pytest.skip("there has been no release, so nothing can break yet")
    assert objections(RELEASED, DOCUMENT, tmp_path) == ""


# Broken on purpose: each of these redocly has to take for a change that breaks a client.


def narrow_a_maximum(document: Any) -> None:
    document["components"]["parameters"]["EventLimit"]["schema"]["maximum"] = 50


def remove_an_operation(document: Any) -> None:
    del document["paths"]["/v1/me/sessions"]["delete"]


def remove_a_path(document: Any) -> None:
    del document["paths"]["/v1/me/events"]


def require_a_field(document: Any) -> None:
    document["components"]["schemas"]["IptoLogInRequest"]["required"].append("cookie")


def promise_a_field_no_more(document: Any) -> None:
    document["components"]["schemas"]["IptoCurrentUser"]["required"].remove("roles")


def answer_another_type(document: Any) -> None:
    schema = document["components"]["schemas"]["IptoCurrentUser"]["properties"]
    schema["is_platform_admin"] = {"type": "string", "maxLength": 5, "description": "Whether."}


def accept_a_credential_no_more(document: Any) -> None:
    document["paths"]["/v1/me"]["get"]["security"].remove({"apiKey": []})


def rename_an_operation(document: Any) -> None:
    document["paths"]["/v1/me"]["get"]["operationId"] = "ipto.getMe"


BREAKING: tuple[Callable[[Any], None], ...] = (
    narrow_a_maximum,
    remove_an_operation,
    remove_a_path,
    require_a_field,
    promise_a_field_no_more,
    answer_another_type,
    accept_a_credential_no_more,
    rename_an_operation,
)


def allow_another_field(document: Any) -> None:
    schema = document["components"]["schemas"]["IptoLogInRequest"]["properties"]
    schema["device"] = {"type": "string", "maxLength": 20, "description": "What it is called."}


def change_nothing(document: Any) -> None:
    assert document


def written(folder: Path, version: str, change: Callable[[Any], None] = change_nothing) -> Path:
    document: dict[str, Any] = deepcopy(dict(load_document()))
    change(document)
    document["info"]["version"] = version
    path = folder / f"{change.__name__}-{version}.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("change", BREAKING, ids=lambda change: change.__name__)
def test_what_breaks_a_client_wants_another_major_version(
    change: Callable[[Any], None], tmp_path: Path
):
    found = objections(written(tmp_path, "1.2.3"), written(tmp_path, "1.3.0", change), tmp_path)
    assert "major bump (2.0.0)" in found


MOVES: Mapping[tuple[Callable[[Any], None], str, str], bool] = {
    (narrow_a_maximum, "1.2.3", "2.0.0"): True,
    # Before 1.0.0 the minor part stands for the major (SemVer 2.0.0, item 4).
    (narrow_a_maximum, "0.2.3", "0.2.4"): False,
    (narrow_a_maximum, "0.2.3", "0.3.0"): True,
    (allow_another_field, "1.2.3", "1.2.4"): False,
    (allow_another_field, "1.2.3", "1.3.0"): True,
    (change_nothing, "1.2.3", "1.2.3"): True,
}


@pytest.mark.parametrize(
    ("change", "base", "revision", "enough"),
    [(*moved, enough) for moved, enough in MOVES.items()],
    ids=[f"{change.__name__} {base} {revision}" for change, base, revision in MOVES],
)
def test_a_version_has_moved_enough_or_not(
    change: Callable[[Any], None], base: str, revision: str, *, enough: bool, tmp_path: Path
):
    found = objections(written(tmp_path, base), written(tmp_path, revision, change), tmp_path)
    assert (found == "") == enough
