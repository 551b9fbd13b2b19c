"""The OpenAPI document and its entity tag."""

from hashlib import sha256
from typing import Any, cast

from handlers import etags, status
from handlers.context import Context
from handlers.exchange import Exchange

CONTENT = b'{"openapi": "3.0.3"}'


class Service:
    """A service that publishes one document."""

    def find_document(self, _path: str) -> bytes | None:
        return CONTENT


def read_exchange() -> Exchange:
    raise AssertionError


def test_document_is_hashed_once(monkeypatch):
    """The document has hundreds of kilobytes, and needs no credential."""
    hashed = []

    def hash_content(content: bytes) -> Any:
        hashed.append(content)
        return sha256(content)

    monkeypatch.setattr(etags, "sha256", hash_content)
    context = Context(cast("Any", Service()), read_exchange)
    first = status.get_document(context, None)
    assert first.headers["ETag"] == f'"{sha256(CONTENT).hexdigest()}"'
    assert status.get_document(context, first.headers["ETag"]).status == 304
    assert status.get_upgraded_document(context, None).headers == first.headers
    assert hashed == [CONTENT]
