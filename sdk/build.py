"""Build both SDKs: `python sdk/build.py WORK DIST` leaves a wheel, a source archive and a tarball.

Everything is made in WORK, nothing in the checkout; no network is asked but npm's registry, for
what `typescript/package-lock.json` names and only where WORK does not have it already.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from facts import DOCUMENT, Facts, read_facts
from readme import quick_start

HERE = Path(__file__).parent
TYPESCRIPT = HERE / "typescript"

#: So that the same source gives the same bytes, whenever it is built (reproducible-builds.org).
_EPOCH = {"SOURCE_DATE_EPOCH": "1775383200"}


def build(work: Path, dist: Path) -> None:
    """Build them."""
    facts = read_facts()
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    _build_python(work / "python", dist)
    _build_typescript(work / "typescript", dist, facts)
    for path in sorted(dist.iterdir()):
        print(f"{path.stat().st_size:>8}  {path.name}")


def _build_python(work: Path, dist: Path) -> None:
    _run(sys.executable, HERE / "python" / "generate.py", work)
    # The package is as strict as its users may be.
    _run(sys.executable, "-m", "mypy", cwd=work)
    _run(sys.executable, "-m", "hatchling", "build", "-d", dist, cwd=work)


def _build_typescript(work: Path, dist: Path, facts: Facts) -> None:
    work.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "openapi-ts.config.ts", "tsconfig.json"):
        shutil.copy(TYPESCRIPT / name, work)
    if not _is_installed(work):
        _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=work)
        shutil.copy(TYPESCRIPT / "package-lock.json", work / "node_modules" / ".installed-lock")
    generated, package = work / "generated", work / "package"
    for folder in (generated, package):
        shutil.rmtree(folder, ignore_errors=True)
    _run_node(
        work,
        "@hey-api/openapi-ts/bin/run.js",
        ONESELF_DOCUMENT=str(DOCUMENT),
        ONESELF_GENERATED=str(generated),
    )
    source = package / "src"
    shutil.copytree(generated / "dialects", source)
    # The functions use the same types and the same client, which are there already.
    shutil.copy(generated / "functions" / "sdk.gen.ts", source / "functions.gen.ts")
    shutil.copytree(TYPESCRIPT / "src", source, dirs_exist_ok=True)
    shapes = json.dumps(facts.as_json()["shapes"], indent=2)
    (source / "document.gen.ts").write_text(f"export const shapes = {shapes} as const;\n")
    described = json.loads((TYPESCRIPT / "package.template.json").read_text())
    described = {"name": described["name"], "version": facts.version, **described}
    (package / "package.json").write_text(json.dumps(described, indent=2))
    (package / "README.md").write_text(f"# oneself-client\n\n{quick_start('TypeScript')}\n")
    shutil.copy(work / "tsconfig.json", package)
    _run_node(work, "typescript/bin/tsc", "--project", package)
    _npm("pack", "--silent", "--ignore-scripts", "--pack-destination", dist, cwd=package)


def _is_installed(work: Path) -> bool:
    installed = work / "node_modules" / ".installed-lock"
    lock = (TYPESCRIPT / "package-lock.json").read_bytes()
    return installed.is_file() and installed.read_bytes() == lock


def _run_node(work: Path, program: str, *arguments: object, **settings: str) -> None:
    _run("node", work / "node_modules" / program, *arguments, cwd=work, **settings)


def _npm(*arguments: object, cwd: Path) -> None:
    _run("npm", *arguments, cwd=cwd)


def _run(*command: object, cwd: Path | None = None, **settings: str) -> None:
    environment = {**os.environ, **_EPOCH, **settings}
    subprocess.run([str(word) for word in command], cwd=cwd, env=environment, check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
