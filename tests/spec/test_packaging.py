"""oneself is an application: it runs from its checkout and is never installed (ADR 1).

`handlers` and `models` in a site-packages directory would silently overwrite other packages of
these names, or be overwritten by them.
"""

import importlib.metadata
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PACKAGES = ("accounts", "handlers", "models", "oneself")
DATA = ("locales", "openapi", "policies", "templates")
# A name, an exact version, an optional marker, and hashes: no option and no address.
PINNED = re.compile(
    r"[a-z0-9][a-z0-9.-]*(\[[a-z0-9,-]+\])?==[^ ]+( ; [^:]+?)?( +--hash=sha256:[0-9a-f]{64})+ *"
)
#: CVE-2026-102275, a write past a buffer, GHSA-c33x-vcv4-vg3g, CVE-2025-62727, CVE-2025-43859.
FLOORS = {"pyjwt": "2.15", "pillow": "13", "cedarpy": "4.12", "starlette": "0.49.1", "h11": "0.16"}
REQUIREMENTS = sorted(ROOT.glob("requirements/*.txt"))


def test_there_is_no_build_system():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "build-system" not in project
    assert project["tool"]["uv"]["package"] is False


@pytest.mark.parametrize("name", [*PACKAGES, *DATA, "tests"])
def test_no_installed_distribution_owns_our_names(name):
    assert importlib.metadata.packages_distributions().get(name) is None


@pytest.mark.parametrize("name", PACKAGES)
def test_code_is_in_packages(name):
    assert (ROOT / name / "__init__.py").is_file()


@pytest.mark.parametrize("name", DATA)
def test_data_folders_contain_no_modules(name):
    assert not list((ROOT / name).rglob("*.py"))


def test_there_is_no_module_at_the_root():
    assert not list(ROOT.glob("*.py"))


def test_requirements_files_exist():
    assert {path.stem for path in REQUIREMENTS} >= {
        "runtime",
        "tests",
        "lint",
        "node",
        "prove",
        "sdk",
        "sdk-tests",
        "telemetry",
    }


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_requirements_are_pinned_and_hashed_and_name_no_index(path):
    """SC-01."""
    # A requirement spans several lines, joined by backslashes.
    requirements = path.read_text().replace("\\\n", " ").splitlines()
    assert requirements
    for requirement in requirements:
        pinned = PINNED.fullmatch(requirement)
        assert pinned, f"{path.name}: {requirement[:80]}"


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_packages_include_the_fixes_of_known_vulnerabilities(name, floor):
    """SC-02: in every requirements file."""
    pinned = re.compile(rf"^{name}==(\S+)", re.MULTILINE)
    versions = [each for path in REQUIREMENTS for each in pinned.findall(path.read_text())]
    assert versions
    assert all(Version(version) >= Version(floor) for version in versions)


@pytest.mark.parametrize(
    "folder", ["openapi", "contracts", "sdk/typescript", "bench/peers/better_auth"]
)
def test_node_lock_files_have_integrity_hashes_and_no_addresses(folder):
    lock = json.loads((ROOT / folder / "package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert packages
    for package in packages:
        assert package["integrity"].startswith("sha512-")
        # npm writes the address for donations by itself.
        assert "://" not in json.dumps({**package, "funding": None})
        assert "resolved" not in package


WORKFLOWS = {
    "examples/ci/workflow.yaml": (ROOT / "examples" / "ci" / "workflow.yaml").read_text(),
    "docs/conformance.md": re.findall(
        r"```yaml\n(name: .*?)```", (ROOT / "docs" / "conformance.md").read_text(), re.DOTALL
    )[0],
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_have_least_permissions_and_pinned_actions(name):
    """SC-01, attack finding 22: a tag can be moved to other code, and a commit cannot."""
    workflow = yaml.safe_load(WORKFLOWS[name])
    assert workflow["permissions"] == {"contents": "read"}
    used = re.findall(r"uses: (.*)", WORKFLOWS[name])
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", each) for each in used)
