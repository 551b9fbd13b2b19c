"""The rules of Spectral, OWASP and IBM find nothing in the document.

Rules that are off have their reasons in contracts/spectral.yaml.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.service import ROOT
from tests.third_party.table import Results
from tests.third_party.tools import node_command, node_version

DOCUMENT = ROOT / "openapi" / "openapi.yaml"
RULES = ROOT / "contracts" / "spectral.yaml"
_TOOLS = "ONESELF_NODE_TOOLS"
_SCRIPT = "@stoplight/spectral-cli/dist/index.js"
_SECONDS = 300


def lint(document: Path, folder: Path) -> set[tuple[str, str]]:
    """Return the rule and the place of each finding."""
    command = node_command(_TOOLS, _SCRIPT)
    # Sets of rules are found by their names only from beside the packages.
    rules = Path(os.environ[_TOOLS]).parent / f"linted-{RULES.name}"
    shutil.copy(RULES, rules)
    process = subprocess.run(
        [*command, "lint", "--format", "json", "--ruleset", str(rules), str(document)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert process.stdout.startswith("["), process.stdout + process.stderr
    # A sentence follows an empty list.
    findings, _ = json.JSONDecoder().raw_decode(process.stdout)
    return {(each["code"], "/".join(map(str, each["path"]))) for each in findings}


def test_linter_finds_nothing(tmp_path: Path, results: Results):
    assert lint(DOCUMENT, tmp_path) == set()
    off = RULES.read_text().count(": off\n")
    names = {
        "Spectral": "@stoplight/spectral-cli",
        "with the rules of OWASP": "@stoplight/spectral-owasp-ruleset",
        "and IBM": "@ibm-cloud/openapi-ruleset",
    }
    tool = " ".join(f"{name} {node_version(_TOOLS, package)}" for name, package in names.items())
    results.add(tool, f"0 findings; {off} rules are off, each for a reason")


def test_linter_finds_faults(tmp_path: Path):
    """Clients C2: each set of rules finds one."""
    document = tmp_path / "openapi.yaml"
    text = DOCUMENT.read_text().replace("          format: int64\n", "")
    document.write_text(text.replace("      operationId: ipto.logIn\n", ""))
    found = {code for code, _ in lint(document, tmp_path)}
    assert found >= {
        "operation-operationId",
        "owasp:api4:2023-integer-format",
        "ibm-integer-attributes",
    }


def test_every_rule_that_is_off_has_a_reason():
    """A comment stands above each rule or its group."""
    lines = RULES.read_text().partition("\nrules:\n")[2].splitlines()
    assert lines[0].startswith("  # ")
    assert all(re.fullmatch(r"  (# .+|[\w:-]+: off)", line) for line in lines if line)
