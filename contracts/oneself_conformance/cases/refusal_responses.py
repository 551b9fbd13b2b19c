"""Generate the refusals in openapi/openapi.yaml from refusals.yaml.

Run `tox run -e codegen`. The document has one response for each dialect and status, such as
`Ipto400`, between two of its banners, and one schema with all codes and their meaning.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from oneself_conformance.cases.loader import refusal_shapes
from oneself_conformance.cases.matching import PublicUrl, SameRequestId, Timestamp
from oneself_conformance.document import DATA

_REQUEST_ID = "req_0a1b2c3d4e5f"
_PUBLIC_URL = "https://account.example"
_TIME = "2026-04-05T10:00:00Z"
_WIDTH = 100
#: The lines between the banners of the refusals and of the schemas.
_RESPONSES = re.compile(
    r"(?<=# `tox run -e codegen` writes these from refusals[.]yaml[.]\n\n)"
    r".*?(?=  # ── Schemas )",
    re.DOTALL,
)
_CODES = re.compile(
    r"(?<=# `tox run -e codegen` writes this one from refusals[.]yaml[.]\n\n)"
    r"    RefusalCode:\n.*?\n(?=    [A-Z])",
    re.DOTALL,
)


def update_document(text: str) -> str:
    """Return the text of the document with up-to-date refusals."""
    for place, lines in (_RESPONSES, _responses()), (_CODES, _codes()):
        generated = "".join(f"    {line}\n" if line else "\n" for line in lines)
        text, count = place.subn(generated.replace("\\", "\\\\"), text)
        if count != 1:
            raise ValueError("the document has no place for the refusals")
    return text


def _codes() -> Iterator[str]:
    catalogue = refusal_shapes().catalogue
    yield "RefusalCode:"
    yield "  description: |"
    yield "    The reason of a refusal. Codes are stable, and new ones may be added: treat an"
    yield "    unknown code by the status of its response. `x-refusals` has the meaning of each"
    yield "    code and what to do, which the deployment shows at `/errors`."
    yield "  type: string"
    yield '  pattern: "^[a-z_]+$"'
    yield "  maxLength: 40"
    yield "  x-extensible-enum:"
    yield from (f"    - {code}" for code in catalogue)
    yield "  x-refusals:"
    for code, entry in catalogue.items():
        yield f"    {code}:"
        yield f"      meaning: {_flow(entry.meaning)}"
        yield f"      action: {_flow(entry.action)}"
    yield f'  externalDocs: {{url: "{_PUBLIC_URL}/errors", description: The error catalogue}}'
    yield "  example: invalid_request"
    yield ""


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
        case PublicUrl():
            return json.dumps(_PUBLIC_URL + value.path)
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
