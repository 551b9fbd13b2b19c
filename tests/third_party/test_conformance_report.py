"""The archive of a run of the conformance tests, judged by har-validator."""

import json
import subprocess
from pathlib import Path

from oneself_conformance.cli import main
from tests.support.reimplementation import serving_reimplementation
from tests.third_party.table import Results
from tests.third_party.tools import PACKAGES, module_command, node_version

_SCRIPT = Path(__file__).parent / "validators" / "archive.mjs"


def test_har_validator_accepts_the_archive_of_a_run(tmp_path: Path, results: Results):
    people, folder = tmp_path / "people.json", tmp_path / "run"
    with serving_reimplementation() as server:
        people.write_text(json.dumps(server.users))
        given = ["--url", server.url, "--credentials", str(people), "--dialect", "jitsudo"]
        assert main([*given, "--hold", "house", "--suite", "rows", "--output", str(folder)]) == 1
    command = module_command(_SCRIPT, tmp_path)
    archive = folder / "run.har"
    judged = subprocess.run([*command, str(archive)], capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")

    content = json.loads(archive.read_text())
    number = len(content["log"]["entries"])
    results.add(
        f"har-validator {node_version(PACKAGES, 'har-validator')}",
        f"the archive of a run with {number} exchanges is valid",
    )
    del content["log"]["entries"][-1]["response"]["status"]
    archive.write_text(json.dumps(content))
    judged = subprocess.run([*command, str(archive)], capture_output=True, text=True, check=False)
    assert judged.returncode == 1
    assert "status" in judged.stdout
