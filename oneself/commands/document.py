"""`document`: write the OpenAPI document to files."""

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from oneself.commands.console.output import AsJson, show_list

app = typer.Typer(no_args_is_help=True, help="Write the OpenAPI document to files.")


@app.callback()
def _document() -> None:
    # Without a callback, Typer would merge `write`, the only command, into `document`.
    pass


@app.command()
def write(
    folder: Annotated[Path, typer.Argument(help="The folder to write to; made if it is missing.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Write the document as the service serves it, and print the size of each file.

    The files are openapi.yaml, openapi.json, openapi-3.1.json and one for each dialect, such as
    hyperclast.json. They name ONESELF_PUBLIC_URL as their server, and their examples keep the
    dates of the source, so that the files do not depend on the day.
    """
    from oneself.commands.console.session_setup import load_settings
    from oneself.document import load_document
    from oneself.example_dates import STORY_DAY
    from oneself.published_document import PublishedDocument

    story_time = datetime.combine(STORY_DAY, time(), UTC)
    published = PublishedDocument(
        load_document(), url=load_settings().public_origin, clock=lambda: story_time
    )
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in published.items():
        file = folder / Path(path).name
        file.write_bytes(content)
        written.append({"file": str(file), "bytes": len(content)})
    show_list("files", written, as_json=as_json)
