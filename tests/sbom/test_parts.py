"""The SBOM lists each pinned package of the service: `tox run -e dist`."""

import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([a-z0-9][a-z0-9.-]*)(?:\[[^]]*\])?==([^ ;]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def parts():
    if "ONESELF_PARTS" not in os.environ:
        pytest.skip("the list is made by tox run -e dist")
    return json.loads(Path(os.environ["ONESELF_PARTS"]).read_text())


def test_sbom_lists_exactly_the_pinned_packages(parts):
    """SC-01: by name and version, in the format of vulnerability scanners."""
    listed = {(each["name"], each["version"]) for each in parts["components"]}
    pinned = set(PINNED.findall((ROOT / "requirements" / "runtime.txt").read_text()))
    assert len(pinned) > 30
    assert listed == pinned
    assert parts["bomFormat"] == "CycloneDX"
    assert parts["metadata"]["component"]["name"] == "oneself"


def test_each_component_has_a_hash_and_a_purl(parts):
    """SC-01: so that an installation can be verified."""
    for each in parts["components"]:
        assert each["purl"].startswith(f"pkg:pypi/{each['name']}@{each['version']}")
        hashes = [
            found["content"]
            for reference in each["externalReferences"]
            for found in reference.get("hashes", ())
            if found["alg"] == "SHA-256"
        ]
        assert hashes
