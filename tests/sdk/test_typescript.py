"""The TypeScript SDK, installed from its tarball, type-checked and run."""

import copy
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.sdk.new_user import NewUser
from tests.support.service import ROOT

HERE = Path(__file__).parent / "typescript"
DOCUMENT = yaml.safe_load((ROOT / "openapi" / "openapi.yaml").read_text())
DEPRECATED = {"since": "2026-04-05", "sunset": "2027-04-05"}
JOURNEYS = ["hantera", "hyperclast", "ipto", "jitsudo", "oauth", "scaikey"]


def run(*command: str, cwd: Path, **settings: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_test(project: Path, name: str, **settings: str) -> None:
    run("node", "--test", f"{name}.test.ts", cwd=project, **settings)


def test_journeys_pass_the_strict_type_check(project, work):
    run("node", str(work / "typescript/node_modules/typescript/bin/tsc"), "-p", ".", cwd=project)


def test_each_dialect_has_a_journey():
    tags = {tag["name"] for tag in DOCUMENT["tags"]} - {"status"}
    assert tags == set(JOURNEYS)
    written = {path.name for path in (HERE.parent / "journeys").glob("test_*.py")}
    assert written == {f"test_{name}.py" for name in JOURNEYS}
    assert {path.name for path in HERE.glob("*.test.ts")} == {
        f"{name}.test.ts" for name in [*JOURNEYS, "refusals", "secrets", "sending"]
    }


@pytest.mark.parametrize("dialect", JOURNEYS)
def test_journey_succeeds(project: Path, new_user: NewUser, dialect: str):
    run_test(project, dialect, **new_user.as_settings())


def test_refusals_have_their_codes(project):
    run_test(project, "refusals")


def test_credentials_are_not_printed(project):
    """newcomer F19."""
    run_test(project, "secrets")


def test_requests_are_repeated_only_when_safe(project):
    run_test(project, "sending")


def test_editors_strike_through_a_deprecated_operation(tmp_path, work):
    """As a method and as a function, and no other operation."""
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/v1/me"]["get"] |= {"deprecated": True, "x-deprecation": DEPRECATED}
    (tmp_path / "openapi.json").write_text(json.dumps(document, default=str))
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    run(
        "node",
        "node_modules/@hey-api/openapi-ts/bin/run.js",
        cwd=work / "typescript",
        ONESELF_DOCUMENT=str(tmp_path / "openapi.json"),
        ONESELF_GENERATED=str(tmp_path / "generated"),
    )
    (tmp_path / "uses.ts").write_text(
        "import type { Dialects } from './generated/dialects/sdk.gen.js';\n"
        "import * as functions from './generated/functions/sdk.gen.js';\n"
        "export async function use(me: Dialects): Promise<void> {\n"
        "  await me.ipto.getCurrentUser();\n"
        "  await me.ipto.logOut();\n"
        "  await functions.iptoGetCurrentUser();\n"
        "  await functions.iptoLogOut();\n"
        "}\n"
    )
    deprecated = run(
        "node",
        str(HERE / "deprecated_names.mjs"),
        str(work / "typescript/node_modules/typescript/lib/typescript.js"),
        str(tmp_path / "uses.ts"),
        cwd=tmp_path,
    )
    assert sorted(deprecated.split()) == ["getCurrentUser", "iptoGetCurrentUser"]


def test_bundler_drops_unused_functions(project, work):
    (project / "small.ts").write_text(
        "import { connect, statusGetHealth } from 'oneself-client/functions';\n"
        "const client = connect({ baseUrl: 'http://account.example' });\n"
        "console.log((await statusGetHealth({ client })).data.status);\n"
    )
    bundled = run(
        "node",
        str(work / "typescript/node_modules/esbuild/bin/esbuild"),
        "small.ts",
        "--bundle",
        "--format=esm",
        "--minify",
        cwd=project,
    )
    assert "/healthz" in bundled
    paths = [path for path in DOCUMENT["paths"] if path != "/healthz"]
    assert [path for path in paths if f'"{path}"' in bundled] == []
    assert len(bundled) < 20_000
