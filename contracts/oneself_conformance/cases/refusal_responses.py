"""Generate the responses of refusals in openapi/openapi.yaml from refusals.yaml.

Run `tox run -e codegen`. The document has one component for each dialect and status, such as
`Ipto400`, between two of its banners.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from oneself_conformance.cases.matching import SameRequestId, Timestamp
from oneself_conformance.cases.table import refusal_shapes
from oneself_conformance.document import DATA

_REQUEST_ID = "req_0a1b2c3d4e5f"
_TIME = "2026-04-05T10:00:00Z"
_WIDTH = 100
#: The lines between the banners of the refusals and of the schemas.
_GENERATED = re.compile(
    r"(?<=# `tox run -e codegen` writes these from refusals[.]yaml[.]\n\n)"
    r".*?(?=  # ── Schemas )",
    re.DOTALL,
)


def update_document(text: str) -> str:
    """Return the text of the document with up-to-date responses of refusals."""
    responses = "".join(f"    {line}\n" if line else "\n" for line in _responses())
    updated, count = _GENERATED.subn(lambda _: responses, text)
    if count != 1:
        raise ValueError("the document has no place for the responses of refusals")
    return updated


def _responses() -> Iterator[str]:
    shapes = refusal_shapes()
    # Two dialects share their components.
    for dialect in {shapes.documented(name).prefix: name for name in shapes.dialects}.values():
        documented = shapes.documented(dialect)
        refusals = {
            code: shapes.in_dialect(dialect, code, **documented.examples[code])
            for code in documented.codes
        }
        for status in sorted({each.status for each in refusals.values()}):
            listed = {code: each for code, each in refusals.items() if each.status == status}
            response = documented.statuses[status]
            yield f"{documented.prefix}{status}:"
            yield from _description(response["description"])
            yield "  headers:"
            for name, component in {"X-Request-Id": "RequestId", **response["headers"]}.items():
                yield f'    {name}: {{$ref: "#/components/headers/{component}"}}'
            yield "  content:"
            [content_type] = {each.content_type for each in listed.values()}
            yield f"    {content_type}:"
            yield f'      schema: {{$ref: "#/components/schemas/{response["schema"]}"}}'
            yield "      examples:"
            for code, refusal in listed.items():
                yield f"        {code}:"
                yield "          value:"
                for name, value in refusal.body.items():
                    yield f"            {name}: {_flow(value)}"
            yield ""


def _description(text: str) -> list[str]:
    line = f"  description: {text}"
    return ["  description: |", f"    {text}"] if len(f"    {line}") > _WIDTH else [line]


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    match value:
        case SameRequestId():
            return json.dumps(value.prefix + _REQUEST_ID)
        case Timestamp():
            return json.dumps(_TIME)
        case Mapping():
            return f"{{{', '.join(f'{name}: {_flow(below)}' for name, below in value.items())}}}"
        case list():
            return f"[{', '.join(map(_flow, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    path = DATA / "openapi.yaml"
    path.write_text(update_document(path.read_text()))
