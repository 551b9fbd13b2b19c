"""`prove`: the command of the conformance tests, which are a package of their own."""

import sys
from pathlib import Path

import typer

from oneself.commands.console.failures import Failure

#: The package in a checkout, which need not be installed.
_CHECKOUT = Path(__file__).parents[2] / "contracts"


def prove(context: typer.Context) -> None:
    """Test a running deployment against the OpenAPI document, as `oneself-conformance` does."""
    if _CHECKOUT.is_dir() and str(_CHECKOUT) not in sys.path:
        sys.path.append(str(_CHECKOUT))
    try:
        from oneself_conformance.cli import main

        status = main(context.args, program=f"{context.find_root().info_name} prove")
    except ModuleNotFoundError as missing:
        raise Failure(
            f"{missing.name}, which `prove` needs, is not installed."
            " Install it with: pip install --require-hashes -r requirements/prove.txt"
        ) from missing
    raise typer.Exit(status)
