"""`document write`: the files that it leaves."""

import json

from typer.testing import CliRunner

from oneself.commands import document
from oneself.document import load_document

URL = "https://accounts.example.com"
TAGS = [tag["name"] for tag in load_document()["tags"]]


def test_document_is_written_whole_in_31_and_by_dialect(monkeypatch, tmp_path):
    """Issue 18: the same on each day, with the deployment's URL."""
    monkeypatch.setenv("ONESELF_PUBLIC_URL", URL)
    folder = tmp_path / "dist" / "openapi"
    ran = CliRunner().invoke(document.app, ["write", str(folder), "--json"])
    assert (ran.exit_code, ran.stderr) == (0, "")
    sizes = {each["file"]: each["bytes"] for each in json.loads(ran.stdout)["files"]}
    names = ["openapi.yaml", "openapi.json", "openapi-3.1.json", *(f"{tag}.json" for tag in TAGS)]
    assert sizes == {str(folder / name): (folder / name).stat().st_size for name in names}
    assert sorted(each.name for each in folder.iterdir()) == sorted(names)
    for name in names[1:]:
        written = json.loads((folder / name).read_bytes())
        assert written["servers"][0]["url"] == URL
    assert '"2026-04-05T10:00:00Z"' in (folder / "openapi.yaml").read_text()
