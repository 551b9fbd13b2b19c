"""Build both SDKs: `python sdk/build.py WORK DIST` leaves a wheel, a source archive and a tarball.

Everything is written to WORK, and nothing to the checkout. The only network access is to npm's
registry, for the packages in `typescript/package-lock.json` that WORK does not have yet.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml
from facts import DOCUMENT, Facts, document_of_clients, read_facts
from readme import quick_start

HERE = Path(__file__).parent
TYPESCRIPT = HERE / "typescript"

#: For reproducible builds (reproducible-builds.org).
_EPOCH = {"SOURCE_DATE_EPOCH": "1775383200"}


def build(work: Path, dist: Path) -> None:
    """Build both SDKs."""
    start = time.monotonic()
    facts = read_facts()
    dist.mkdir(parents=True, exist_ok=True)
    for former in _packages(dist):
        former.unlink()
    _build_python(work / "python", dist)
    _build_typescript(work / "typescript", dist, facts)
    for path in _packages(dist):
        print(f"{path.stat().st_size:>8}  {path.name}")
    print(f"{time.monotonic() - start:>8.0f}  seconds")


def _packages(dist: Path) -> list[Path]:
    return sorted(dist.glob("oneself[-_]client-*"))


def _build_python(work: Path, dist: Path) -> None:
    _run(sys.executable, HERE / "python" / "generate.py", work)
    # The package must pass the strictest settings of its users.
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
    document = work / "openapi.json"
    document.write_text(json.dumps(document_of_clients(yaml.safe_load(DOCUMENT.read_text()))))
    _run_node(
        work,
        "@hey-api/openapi-ts/bin/run.js",
        ONESELF_DOCUMENT=str(document),
        ONESELF_GENERATED=str(generated),
    )
    source = package / "src"
    shutil.copytree(generated / "dialects", source)
    # The functions share the types and the client generated above.
    shutil.copy(generated / "functions" / "sdk.gen.ts", source / "functions.gen.ts")
    shutil.copytree(TYPESCRIPT / "src", source, dirs_exist_ok=True)
    shapes = json.dumps(facts.as_json()["shapes"], indent=2)
    codes = " | ".join(f"'{refusal.code}'" for refusal in facts.refusals)
    (source / "document.gen.ts").write_text(
        f"export const shapes = {shapes} as const;\n"
        f"/** The codes of refusals in this release; a service can have further ones. */\n"
        f"export type KnownCode = {codes};\n"
    )
    package_json = json.loads((TYPESCRIPT / "package.template.json").read_text())
    package_json = {"name": package_json["name"], "version": facts.version, **package_json}
    (package / "package.json").write_text(json.dumps(package_json, indent=2))
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
