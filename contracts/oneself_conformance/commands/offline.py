"""Commands that send no request: verification of a run's folder, and export of rows."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oneself_conformance.document import SOURCE_VARIABLE, load_document
from oneself_conformance.levels import Level

__all__ = ["UsageError", "export_rows", "read_document", "verify_folder"]


class UsageError(Exception):
    """A command cannot begin; the message says why, and what to do."""


def read_document(source: str | None) -> Mapping[str, Any]:
    """Return the document of a source, or our own, for the modules that are imported from now on.

    Raises:
        UsageError: It cannot be read.
    """
    if source:
        os.environ[SOURCE_VARIABLE] = source
    try:
        return load_document()
    except (OSError, ValueError) as error:
        raise UsageError(f"The document cannot be read: {error}.") from error


def verify_folder(options: argparse.Namespace) -> int:
    """Print what is wrong with the folder of a run, or its verdict."""
    read_document(options.document)
    # Imported now, because it reads the document.
    from oneself_conformance.reports.verification import verify  # noqa: PLC0415

    found = verify(options.folder)
    sys.stdout.writelines(f"{problem}\n" for problem in found.problems)
    if found.problems:
        sys.stdout.write(f"{options.folder} is refused.\n")
        return 1
    sys.stdout.write(f"{options.folder} is whole and consistent. {found.verdict}\n")
    return 0


def export_rows(options: argparse.Namespace, hold: Level) -> int:
    """Write the selected rows as files of another tool, and print what it cannot express."""
    form, folder = options.export[0], Path(options.export[1])
    if form != "hurl":
        raise UsageError("--export writes one format: hurl.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder.")
    # Imported now, because they read the document.
    from oneself_conformance.exports.hurl import export  # noqa: PLC0415
    from oneself_conformance.suite import Suite  # noqa: PLC0415
    from oneself_conformance.targets import Deployment  # noqa: PLC0415

    selected = Suite(
        Deployment("", {}, hold=hold),
        Path(),
        dialect=options.dialect,
        operations=frozenset(options.operation) if options.operation else None,
        promise=options.promise,
    ).selected_rows()
    exported = export(selected, hold, folder)
    for reason, number in exported.reasons.most_common():
        sys.stdout.write(f"{number:>7}  {reason}\n")
    sys.stdout.write(f"{exported.written} of {len(selected)} rows are written to {folder}.\n")
    return 0
