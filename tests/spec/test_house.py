"""The rules of the house that no linter knows."""

import ast
import re
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from models.schema import REVISION
from oneself.database import open_engine
from oneself.database.migrations import differences, upgrade
from oneself.settings import Settings

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for package in ("accounts", "handlers", "models", "oneself")
    for path in (ROOT / package).rglob("*.py")
    if "versions" not in path.parts and path.name != "wire.py"
)
TRANSACTIONS = ROOT / "oneself" / "transactions"
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "manager"}

every_module = pytest.mark.parametrize(
    "path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES]
)


def attributes_called(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr


@every_module
def test_a_module_has_one_subject(path):
    """It has a docstring, a name that says something, and about 300 lines at most."""
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert path.stem not in FORBIDDEN_NAMES
    # errors.py is a list, one class after the other; it would be no clearer in two rooms.
    assert len(text.splitlines()) <= (560 if path.name == "errors.py" else 320)


@every_module
def test_only_one_folder_ends_a_transaction(path):
    """`commit` and `rollback` stand in oneself/database/, and in the migrations' own."""
    if path.parent != TRANSACTIONS and path != ROOT / "oneself" / "migrations.py":
        assert not {"commit", "rollback"} & set(attributes_called(path))


@every_module
def test_only_one_module_opens_an_engine(path):
    """One for each kind of database, so that no connection is without its pragmas or timeouts."""
    if path not in {TRANSACTIONS / "sqlite.py", TRANSACTIONS / "postgresql.py"}:
        assert "create_engine" not in set(attributes_called(path))


def test_the_migrations_make_the_tables_of_the_models(tmp_path):
    """The code and a migrated database agree, and the revision expected is the newest."""
    engine = open_engine(tmp_path / "migrated.sqlite3")
    upgrade(engine)
    assert differences(engine) == []
    assert ScriptDirectory(str(ROOT / "models" / "migrations")).get_heads() == [REVISION]


def test_the_readme_lists_every_setting():
    """The table in the README has each variable, its default and its description, and no other."""
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(ONESELF_[A-Z_]+)` \| (.*?) \| (.*?) \|$", readme, re.MULTILINE)
    expected = [
        (f"ONESELF_{name.upper()}", _written(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]
    assert rows == expected


def _written(default):
    if default is None or default == "":
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
