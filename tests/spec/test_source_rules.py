"""Rules for the source that no linter knows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from models.schema import REVISION
from oneself.database import open_engine
from oneself.database.migrations import differences, upgrade

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for package in ("accounts", "handlers", "models", "oneself", "contracts/oneself_conformance")
    for path in (ROOT / package).rglob("*.py")
    if "versions" not in path.parts and path.name != "wire.py"
)
DATABASE = ROOT / "oneself" / "database"
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "manager"}
MAX_LINES = 320
#: accounts/errors.py is a list of classes; splitting it would not make it clearer.
MAX_LINES_OF_ERRORS = 560
MAX_MODULES_PER_FOLDER = 22

every_module = pytest.mark.parametrize(
    "path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES]
)


def called_attributes(path: Path) -> Iterator[str]:
    """Yield the name of each method that a module calls."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr


@every_module
def test_module_has_docstring_name_and_size(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert path.stem not in FORBIDDEN_NAMES
    limit = MAX_LINES_OF_ERRORS if path.name == "errors.py" else MAX_LINES
    assert len(text.splitlines()) <= limit


def test_folders_have_few_modules():
    """A folder with more modules has more than one subject."""
    folders = {path.parent for path in MODULES}
    sizes = {
        str(folder.relative_to(ROOT)): len({*folder.glob("*.py")} - {folder / "__init__.py"})
        for folder in folders
    }
    assert {name: size for name, size in sizes.items() if size > MAX_MODULES_PER_FOLDER} == {}


@every_module
def test_only_the_database_package_ends_transactions(path):
    """`commit` and `rollback` are called in oneself/database/ only."""
    if path.parent != DATABASE:
        assert not {"commit", "rollback"} & set(called_attributes(path))


@every_module
def test_only_one_module_per_database_opens_engines(path):
    """No connection lacks its pragmas or timeouts."""
    if path not in {DATABASE / "sqlite.py", DATABASE / "postgresql.py"}:
        assert "create_engine" not in set(called_attributes(path))


def test_migrations_create_the_tables_of_the_models(tmp_path):
    """The expected revision is the newest one."""
    path = tmp_path / "migrated.sqlite3"
    path.touch()
    engine = open_engine(path)
    upgrade(engine)
    assert differences(engine) == []
    assert ScriptDirectory(str(ROOT / "models" / "migrations")).get_heads() == [REVISION]
