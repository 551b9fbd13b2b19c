"""The OpenAPI document as the API reference shows it: dialects, operations, fields, refusals."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markupsafe import Markup

from oneself.document import OperationSpec, operation_specs, resolve
from oneself.web.samples import Call, Sample, samples_of

_FIRST_REFUSAL = 400
_MOST_VALUES = 20
#: Without `html`: the text of a description is never taken for markup.
_MARKDOWN = MarkdownIt("commonmark", {"html": False})


class Field(NamedTuple):
    """A parameter, or a field of a body by its path, such as `data.email`."""

    name: str
    place: str
    kind: str
    description: Markup
    required: bool
    example: str


class Content(NamedTuple):
    """A body: its media types, its fields and an example."""

    media_types: Sequence[str]
    fields: Sequence[Field]
    example: str


class Response(NamedTuple):
    """A response with its status."""

    status: int
    phrase: str
    description: Markup
    headers: Sequence[str]
    content: Content | None


class Refusals(NamedTuple):
    """The refusals of a status that operations of a dialect share."""

    anchor: str
    status: int
    phrase: str
    description: Markup
    codes: Sequence[tuple[str, str]]
    example: str


class Operation(NamedTuple):
    """One operation."""

    id: str
    method: str
    path: str
    summary: str
    description: Markup
    deprecated: bool
    #: Security schemes with their descriptions; empty for public operations.
    credentials: Sequence[str]
    scope: str | None
    parameters: Sequence[Field]
    body: Content | None
    responses: Sequence[Response]
    refusals: Sequence[Refusals]
    samples: Sequence[Sample]


class Dialect(NamedTuple):
    """A tag with its operations, and the refusals that they share."""

    name: str
    title: str
    description: Markup
    operations: Sequence[Operation]
    refusals: Sequence[Refusals]


class Scheme(NamedTuple):
    """A kind of credential."""

    name: str
    header: str
    description: Markup


@dataclass(frozen=True, slots=True)
class Reference:
    """The whole reference."""

    introduction: Markup
    schemes: Sequence[Scheme]
    dialects: Sequence[Dialect]


def read_reference(document: Mapping[str, Any], base_url: str) -> Reference:
    """Return the reference of a document; samples call the deployment at a URL."""
    reader = _Reader(document, base_url)
    specs = list(operation_specs(document))
    return Reference(
        introduction=_html(document["info"]["description"]),
        schemes=[
            Scheme(name, _header_of(scheme), _html(scheme["description"]))
            for name, scheme in document["components"]["securitySchemes"].items()
        ],
        dialects=[
            reader.read_dialect(tag, [spec for spec in specs if spec.dialect == tag["name"]])
            for tag in document["tags"]
        ],
    )


def title_of(tag: Mapping[str, str]) -> str:
    """Return the name of a tag as its owner spells it."""
    return tag.get("x-displayName", tag["name"])


class _Reader:
    def __init__(self, document: Mapping[str, Any], base_url: str) -> None:
        self._document = document
        self._base_url = base_url

    def read_dialect(self, tag: Mapping[str, str], specs: Sequence[OperationSpec]) -> Dialect:
        """Return a dialect; equal refusals of its operations are listed once."""
        shared: dict[str, Refusals] = {}
        operations = [self._read_operation(spec, shared) for spec in specs]
        refusals = sorted(shared.values(), key=lambda each: (each.status, each.anchor))
        description = _html(tag["description"])
        return Dialect(tag["name"], title_of(tag), description, operations, refusals)

    def _read_operation(self, spec: OperationSpec, shared: dict[str, Refusals]) -> Operation:
        described = self._document["paths"][spec.path][spec.method]
        schemes = [name for each in described["security"] for name in each]
        responses = [
            self._read_response(status, response)
            for status, response in spec.responses.items()
            if status < _FIRST_REFUSAL
        ]
        refusals = [
            self._share(spec.dialect, status, response, shared)
            for status, response in spec.responses.items()
            if status >= _FIRST_REFUSAL
        ]
        body = resolve(self._document, described.get("requestBody", {})).get("content")
        return Operation(
            id=spec.operation_id,
            method=spec.method.upper(),
            path=spec.path,
            summary=described["summary"],
            description=_html(described["description"]),
            deprecated=described.get("deprecated", False),
            credentials=schemes,
            scope=spec.scope,
            parameters=[self._read_parameter(each) for each in spec.parameters],
            body=self._read_content(body) if body else None,
            responses=responses,
            refusals=refusals,
            samples=samples_of(self._read_call(spec, schemes, body), self._base_url),
        )

    def _read_call(
        self, spec: OperationSpec, schemes: Sequence[str], body: Mapping[str, Any] | None
    ) -> Call:
        media_type, content = next(iter(body.items())) if body else (None, {})
        schema = self._resolve(content.get("schema", {}))
        fields = {name: self._resolve(each) for name, each in schema.get("properties", {}).items()}
        parameters: dict[str, dict[str, Any]] = {}
        formats = {name: each["format"] for name, each in fields.items() if "format" in each}
        for parameter in spec.parameters:
            own = self._resolve(parameter["schema"])
            if parameter.get("required"):
                value = parameter.get("example", own.get("example"))
                parameters.setdefault(parameter["in"], {})[parameter["name"]] = value
                formats[parameter["name"]] = own.get("format", "")
        return Call(
            operation_id=spec.operation_id,
            method=spec.method.upper(),
            path=spec.path,
            scheme=next((name for name in schemes if name != "sessionCookie"), None),
            parameters=parameters,
            media_type=media_type,
            body=content.get("example"),
            formats=formats,
            is_open=media_type is not None and not fields,
            has_result=any(
                response.get("content")
                for status, response in spec.responses.items()
                if status < _FIRST_REFUSAL
            ),
        )

    def _read_response(self, status: int, response: Mapping[str, Any]) -> Response:
        content = response.get("content")
        return Response(
            status,
            HTTPStatus(status).phrase,
            _html(response["description"]),
            list(response["headers"]),
            self._read_content(content) if content else None,
        )

    def _share(
        self, dialect: str, status: int, response: Mapping[str, Any], shared: dict[str, Refusals]
    ) -> Refusals:
        """Return the entry of a refusal in the list of its dialect, where it stands once."""
        (content,) = response["content"].values()
        key = _json([status, response["description"], content.get("examples")])
        if key not in shared:
            alike = sum(each.status == status for each in shared.values())
            suffix = f"-{alike + 1}" if alike else ""
            examples = content.get("examples", {})
            shared[key] = Refusals(
                f"{dialect}-{status}{suffix}",
                status,
                HTTPStatus(status).phrase,
                _html(response["description"]),
                [(code, each.get("summary", "")) for code, each in examples.items()],
                next((_json(each["value"]) for each in examples.values()), ""),
            )
        return shared[key]

    def _read_parameter(self, parameter: Mapping[str, Any]) -> Field:
        schema = self._resolve(parameter["schema"])
        example = parameter.get("example", schema.get("example"))
        return Field(
            parameter["name"],
            parameter["in"],
            self._kind_of(schema),
            _html(parameter["description"]),
            parameter.get("required", False),
            "" if example is None else str(example),
        )

    def _read_content(self, content: Mapping[str, Any]) -> Content:
        first = next(iter(content.values()))
        example = first.get("example")
        is_text = not isinstance(example, (dict, list))
        fields = list(self._fields_of(first["schema"], ""))
        return Content(list(content), fields, "" if is_text else _json(example))

    def _fields_of(self, node: Mapping[str, Any], prefix: str) -> Iterator[Field]:
        """Yield each field within a schema, with its path."""
        schema = self._resolve(node)
        if schema.get("type") == "array":
            yield from self._fields_of(schema["items"], f"{prefix}[]" if prefix else "[]")
            return
        for name, each in schema.get("properties", {}).items():
            inner = self._resolve(each)
            path = f"{prefix}.{name}" if prefix else name
            required = name in schema.get("required", ())
            description = _html(inner.get("description", ""))
            yield Field(path, "body", self._kind_of(inner), description, required, "")
            yield from self._fields_of(inner, path)

    def _kind_of(self, schema: Mapping[str, Any]) -> str:
        """Return the type of a value in words, such as `string (email) or null`."""
        kind: str = schema.get("type", "any")
        if kind == "array":
            kind = f"array of {self._kind_of(self._resolve(schema['items']))}"
        elif "format" in schema:
            kind += f" ({schema['format']})"
        if len(schema.get("enum", ())) in range(1, _MOST_VALUES):
            kind += f": {', '.join(map(str, schema['enum']))}"
        if "maxLength" in schema and "enum" not in schema:
            kind += f", at most {schema['maxLength']} characters"
        return f"{kind}, or null" if schema.get("nullable") else kind

    def _resolve(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        return resolve(self._document, node)


def _header_of(scheme: Mapping[str, str]) -> str:
    """Return the header that carries a credential, as in `Authorization: Bearer sess_…`."""
    if scheme["type"] == "apiKey":
        name = scheme["name"]
        return f"Cookie: {name}=…" if scheme["in"] == "cookie" else f"{name}: …"
    form = scheme.get("bearerFormat", "…")
    return f"Authorization: {scheme['scheme'].capitalize()} {form}"


@cache
def _html(text: str) -> Markup:
    return Markup(_MARKDOWN.render(text))  # noqa: S704 # the renderer escapes HTML


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
