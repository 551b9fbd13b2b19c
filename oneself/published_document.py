"""The OpenAPI document as it is served: whole, in OpenAPI 3.1, and for one dialect.

It names the deployment as its server, its contact and its error catalogue, and leaves out how the
service works inside. Its examples happen today: their timestamps are moved by whole days from the
day on which they are written.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import orjson

from oneself.document import DOCUMENT_PATH, METHODS
from oneself.openapi_31 import convert_document

#: The day of the examples in openapi/openapi.yaml.
STORY_DAY = date(2026, 4, 5)

#: Members about the service rather than about its API.
_INTERNAL = frozenset({"x-workload", "x-mailed-secret"})
_INTERNAL_LINES = re.compile(rf"^ +(?:{'|'.join(sorted(_INTERNAL))}): .*\n", re.MULTILINE)
_SERVERS = re.compile(r"^servers:\n(?: .*\n)+", re.MULTILINE)
#: All but the banners between the parts.
_COMMENTS = re.compile(r"^ *# (?!──).*\n", re.MULTILINE)

#: The public URL of the deployment in openapi/openapi.yaml, which must be a whole one: generators
#: reject a relative address of the contact.
_SOURCE_URL = b"https://account.example"

_DAY = re.compile(rb"\b\d{4}-\d\d-\d\d(?=T\d\d:\d\d:\d\dZ)")
#: Seconds since 1970, in years that an example may have. The document has no other such numbers.
_SECOND = re.compile(rb"(?<=[: ])1[7-9]\d{8}(?=[,}\s])")


class PublishedDocument:
    """The document of a deployment, by the paths that serve it."""

    def __init__(self, document: Mapping[str, Any], *, url: str, today: date | None = None) -> None:
        """Publish a document for the public URL of a deployment; `today` is a day in UTC."""
        self._document = document
        self._url = url
        self._days = (today or datetime.now(UTC).date()) - STORY_DAY
        self._makers: Mapping[str, Callable[[], bytes]] = {
            "/openapi.yaml": self._as_yaml,
            "/openapi.json": lambda: orjson.dumps(self._publish()),
            "/openapi-3.1.json": lambda: orjson.dumps(convert_document(self._publish())),
            **{
                f"/openapi/{tag['name']}.json": partial(self._of_dialect, tag["name"])
                for tag in document["tags"]
            },
        }
        self._contents: dict[str, bytes] = {}

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over the paths, with the content of each."""
        return ((path, self._read(path)) for path in self._makers)

    def find(self, path: str) -> bytes | None:
        """Return the content of a path, or None. It is made when it is first asked for."""
        return self._read(path) if path in self._makers else None

    def _read(self, path: str) -> bytes:
        if path not in self._contents:
            content = self._makers[path]().replace(_SOURCE_URL, self._url.encode())
            self._contents[path] = _shift(content, self._days)
        return self._contents[path]

    def _as_yaml(self) -> bytes:
        text = _COMMENTS.sub("", _INTERNAL_LINES.sub("", DOCUMENT_PATH.read_text()))
        servers = orjson.dumps(self._servers).decode()
        return _SERVERS.sub(lambda _: f"servers: {servers}\n", text).encode()

    def _of_dialect(self, tag: str) -> bytes:
        return orjson.dumps(select_dialect(self._publish(), tag))

    def _publish(self) -> dict[str, Any]:
        published: dict[str, Any] = _without_internals(self._document)
        return published | {"servers": self._servers}

    @property
    def _servers(self) -> list[Mapping[str, str]]:
        return [{**self._document["servers"][0], "url": self._url}]


def select_dialect(document: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """Return a document with the operations of one dialect, and the components that they use."""
    paths = {
        path: item
        for path, item in document["paths"].items()
        if any(item[method]["tags"] == [tag] for method in METHODS if method in item)
    }
    names = {
        item[method]["operationId"]
        for item in paths.values()
        for method in METHODS
        if method in item
    }
    paths = _without_links_to_others(paths, names)
    used = {*_credentials(paths)}
    while new := {*_references([paths, *(_target(document, each) for each in used)])} - used:
        used |= new
    components = {
        kind: {name: each for name, each in named.items() if (kind, name) in used}
        for kind, named in document["components"].items()
    }
    return {
        **document,
        "info": {**document["info"], "title": f"{document['info']['title']}: {tag}"},
        "tags": [each for each in document["tags"] if each["name"] == tag],
        "paths": paths,
        "components": {kind: named for kind, named in components.items() if named},
    }


def _without_internals(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {
            name: _without_internals(below) for name, below in node.items() if name not in _INTERNAL
        }
    return [_without_internals(below) for below in node] if isinstance(node, list) else node


def _without_links_to_others(node: Any, names: set[str]) -> Any:
    """Return a node without the links to operations that are not among the names."""
    if not isinstance(node, Mapping):
        return node
    copied = {name: _without_links_to_others(below, names) for name, below in node.items()}
    if "links" in copied:
        kept = {
            name: link for name, link in copied["links"].items() if link["operationId"] in names
        }
        copied["links"] = kept
        if not kept:
            del copied["links"]
    return copied


def _credentials(paths: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for item in paths.values():
        for method in METHODS:
            for alternative in item.get(method, {}).get("security", ()):
                for name in alternative:
                    yield "securitySchemes", name


def _references(node: Any) -> Iterator[tuple[str, str]]:
    """Yield kind and name of each component that a node refers to."""
    if isinstance(node, Mapping):
        if isinstance(reference := node.get("$ref"), str):
            _, _, kind, name = reference.split("/")
            yield kind, name
        for below in node.values():
            yield from _references(below)
    elif isinstance(node, list):
        for below in node:
            yield from _references(below)


def _target(document: Mapping[str, Any], component: tuple[str, str]) -> Any:
    kind, name = component
    return document["components"][kind][name]


def _shift(content: bytes, days: timedelta) -> bytes:
    """Move the timestamps of a text by some days."""

    def move_day(match: re.Match[bytes]) -> bytes:
        return (date.fromisoformat(match[0].decode()) + days).isoformat().encode()

    def move_second(match: re.Match[bytes]) -> bytes:
        return str(int(match[0]) + int(days.total_seconds())).encode()

    return _SECOND.sub(move_second, _DAY.sub(move_day, content))
