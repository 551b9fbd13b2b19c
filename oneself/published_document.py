"""The OpenAPI document as it is served: whole, in OpenAPI 3.1, and for one dialect.

It names the deployment as its server, its contact and its error catalogue, and leaves out how the
service works inside. Its examples happen today.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from oneself.document import DOCUMENT_PATH, METHODS
from oneself.example_dates import DailyContent
from oneself.openapi_31 import convert_document

#: The rule for new passwords that depends on settings, as openapi/openapi.yaml has it.
_CLASSES = " with an upper-case letter, a lower-case letter and a digit"
_PASSWORD_RULE = f"At least 8 characters{_CLASSES};"

#: Members about the service rather than about its API.
_INTERNAL = frozenset({"x-workload", "x-mailed-secret"})
_INTERNAL_LINES = re.compile(rf"^ +(?:{'|'.join(sorted(_INTERNAL))}): .*\n", re.MULTILINE)
_SERVERS = re.compile(r"^servers:\n(?: .*\n)+", re.MULTILINE)
#: All but the banners between the parts.
_COMMENTS = re.compile(r"^ *# (?!──).*\n", re.MULTILINE)

#: The public URL of the deployment in openapi/openapi.yaml, which must be a whole one: generators
#: reject a relative address of the contact.
_SOURCE_URL = b"https://account.example"


class PublishedDocument:
    """The document of a deployment, by the paths that serve it."""

    def __init__(
        self, document: Mapping[str, Any], *, url: str, clock: Callable[[], datetime]
    ) -> None:
        """Publish a document for the public URL of a deployment."""
        self._document = document
        self._url = url
        makers: Mapping[str, Callable[[], bytes]] = {
            "/openapi.yaml": self._as_yaml,
            "/openapi.json": lambda: orjson.dumps(self._publish()),
            "/openapi-3.1.json": lambda: orjson.dumps(convert_document(self._publish())),
            **{
                f"/openapi/{tag['name']}.json": partial(self._of_dialect, tag["name"])
                for tag in document["tags"]
            },
        }
        self._contents = {
            path: DailyContent(partial(self._locate, make), clock=clock)
            for path, make in makers.items()
        }

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over the paths, with the content of each."""
        return ((path, content.read()) for path, content in self._contents.items())

    def find(self, path: str) -> bytes | None:
        """Return the content of a path, or None. It is made when it is first asked for."""
        content = self._contents.get(path)
        return None if content is None else content.read()

    def _locate(self, make: Callable[[], bytes]) -> bytes:
        return make().replace(_SOURCE_URL, self._url.encode())

    def _as_yaml(self) -> bytes:
        text = _COMMENTS.sub("", _INTERNAL_LINES.sub("", DOCUMENT_PATH.read_text()))
        text = text.replace(_PASSWORD_RULE, _first_rule(self._document))
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


def describe_passwords(
    document: Mapping[str, Any], *, min_length: int, has_classes: bool
) -> Mapping[str, Any]:
    """Return a document that describes new passwords by the settings of a deployment."""
    rule = f"At least {min_length} characters{_CLASSES if has_classes else ''};"
    components = document["components"]
    password = components["schemas"]["NewPassword"]
    described = password["description"].replace(_PASSWORD_RULE, rule)
    schemas = components["schemas"] | {"NewPassword": password | {"description": described}}
    return {**document, "components": components | {"schemas": schemas}}


def _first_rule(document: Mapping[str, Any]) -> str:
    description: str = document["components"]["schemas"]["NewPassword"]["description"]
    return description.splitlines()[0]


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
