"""Reader of the files in data/. It needs no document, which is generated from one of them."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import yaml

from oneself_conformance.cases.matching import (
    Either,
    Matcher,
    OpenapiDocument,
    Other,
    Pattern,
    Picture,
    PublicKey,
    PublicUrl,
    SameRequestId,
    Timestamp,
    UnixTime,
)
from oneself_conformance.cases.refusal_shapes import RefusalShapes
from oneself_conformance.document import DATA


class _Loader(yaml.CSafeLoader):
    """A safe YAML loader with tags for the matchers."""


def _construct(kind: Callable[[Any], Matcher], loader: _Loader, node: yaml.Node) -> Matcher:
    if isinstance(node, yaml.SequenceNode):
        return kind(tuple(loader.construct_sequence(node, deep=True)))
    return kind(node.value)


_MATCHERS: Mapping[str, Callable[[Any], Matcher]] = {
    "!match": Pattern,
    "!moment": Timestamp,
    "!second": UnixTime,
    "!request_id": SameRequestId,
    "!public_key": PublicKey,
    "!public_url": PublicUrl,
    "!either": Either,
    "!other": Other,
    "!picture": Picture,
    "!openapi": OpenapiDocument,
}
for _tag, _kind in _MATCHERS.items():
    _Loader.add_constructor(_tag, partial(_construct, _kind))


def parse_contract(file: str) -> Any:
    """Return the content of a file, by its name without suffix."""
    # A subclass of the safe loader.
    return yaml.load((DATA / f"{file}.yaml").read_bytes(), Loader=_Loader)  # noqa: S506


@cache
def refusal_shapes() -> RefusalShapes:
    """Return the content of refusals.yaml."""
    return RefusalShapes(parse_contract("refusals"))
