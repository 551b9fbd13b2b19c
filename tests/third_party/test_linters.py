"""Spectral, OWASP's rules for it, and IBM's validator find nothing in the document.

Rules that are off have their reasons in contracts/spectral.yaml and contracts/ibm.yaml.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.service import ROOT
from tests.third_party.table import Results
from tests.third_party.tools import node_command, node_version

_TOOLS = "ONESELF_NODE_TOOLS"
_CLI: Mapping[str, str] = {"spectral": "@stoplight/spectral-cli", "ibm": "ibm-openapi-validator"}
_SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "spectral": ("@stoplight/spectral-cli/dist/index.js", "lint", "-f", "json", "-r"),
    "ibm": ("ibm-openapi-validator/src/cli-validator/index.js", "-j", "-r"),
}
_SECONDS = 300


def lint(linter: str, document: Path, folder: Path) -> list[str]:
    """Return the codes of a linter's findings."""
    # A ruleset is found by its name only from beside the packages.
    rules = Path(os.environ[_TOOLS]).parent / f"{linter}.yaml"
    source = ROOT / "contracts" / rules.name
    if not (rules.exists() and rules.samefile(source)):
        shutil.copy(source, rules)
    script, *arguments = _SCRIPTS[linter]
    process = subprocess.run(
        [*node_command(_TOOLS, script), *arguments, str(rules), str(document)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    # Both print a line of prose around the report in some cases.
    found = re.search(r"^[\[{].*^?[\]}]", process.stdout, re.DOTALL | re.MULTILINE)
    assert found, process.stdout + process.stderr
    report, _ = json.JSONDecoder().raw_decode(found[0])
    return [*_codes(report)]


def _codes(report: Any) -> list[str]:
    if isinstance(report, list):
        return [f"{each['code']}: {'/'.join(map(str, each['path']))}" for each in report]
    return [
        f"{each['rule']}: {'/'.join(map(str, each['path']))}"
        for severity in ("error", "warning", "info", "hint")
        for each in report[severity]["results"]
    ]


@pytest.mark.parametrize("linter", _SCRIPTS)
def test_linter_finds_nothing(linter: str, tmp_path: Path, results: Results):
    assert lint(linter, ROOT / "openapi" / "openapi.yaml", tmp_path) == []
    rules = yaml.safe_load((ROOT / "contracts" / f"{linter}.yaml").read_text())["rules"]
    name = {
        "spectral": f"Spectral {node_version(_TOOLS, _CLI['spectral'])} with OWASP's rules "
        f"{node_version(_TOOLS, '@stoplight/spectral-owasp-ruleset')}",
        "ibm": f"IBM OpenAPI Validator {node_version(_TOOLS, _CLI['ibm'])}",
    }[linter]
    results.add(name, f"0 findings; {len(rules)} rules are off, each with its reason")


@pytest.mark.parametrize("linter", _SCRIPTS)
def test_linter_finds_a_fault(linter: str, tmp_path: Path):
    """An integer without a format is found by both (clients C2)."""
    document = tmp_path / "openapi.yaml"
    text = (ROOT / "openapi" / "openapi.yaml").read_text()
    document.write_text(text.replace("          format: int64\n", ""))
    assert any("integer" in each for each in lint(linter, document, tmp_path))


@pytest.mark.parametrize("linter", _SCRIPTS)
def test_every_rule_that_is_off_has_a_reason(linter: str):
    """A comment stands above each rule, or above the group that it is in."""
    lines = (ROOT / "contracts" / f"{linter}.yaml").read_text().partition("\nrules:\n")[2]
    assert lines.lstrip().startswith("#")
    assert all(re.fullmatch(r"  (#.+|[\w:-]+: off)", line) for line in lines.splitlines() if line)
    # A group of rules begins after a comment; a blank line ends it.
    for group in lines.split("\n\n"):
        assert group.lstrip().startswith("#")
