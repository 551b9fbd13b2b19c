"""The rows of contracts/*.yaml, read and, where a row is a family, spread over the operations."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.expansion import members
from oneself.conformance.rows.matching import (
    Either,
    Matcher,
    Moment,
    Pattern,
    Picture,
    PublicKey,
    SameRequestId,
    Second,
)
from oneself.conformance.rows.refusal_shapes import RefusalShapes
from oneself.document import OperationSpec, load_document

__all__ = ["Row", "check_row", "load_rows", "refusal_shapes"]

FOLDER = Path(__file__).parents[3] / "contracts"
#: The services beside the one that is set up by default; see tests/support/services.py.
SERVICES = frozenset({"closed", "frozen", "scarce"})
FILES = (*(tag["name"] for tag in load_document()["tags"]), "edge")

_KEYS = {
    "promise", "source", "operation", "method", "path", "dialect", "service",
    "as", "signup", "with", "before", "request", "expect",
}  # fmt: skip
_REQUEST_KEYS = {
    "path", "query", "headers", "json", "form", "raw", "picture", "content_type", "dribble",
    "example",
}  # fmt: skip
_EXPECT_KEYS = {"status", "headers", "body", "refusal", "says", "violations", "notices"}


class _Loader(yaml.CSafeLoader):
    """YAML with the tags of the matchers."""


def _of_text(kind: Callable[[str], Matcher]) -> Callable[[_Loader, yaml.ScalarNode], Matcher]:
    return lambda loader, node: kind(str(loader.construct_scalar(node)))


def _either(loader: _Loader, node: yaml.SequenceNode) -> Either:
    return Either(tuple(loader.construct_sequence(node, deep=True)))


def _picture(loader: _Loader, node: yaml.SequenceNode) -> Picture:
    return Picture(tuple(loader.construct_sequence(node)))


_Loader.add_constructor("!match", _of_text(Pattern))
_Loader.add_constructor("!moment", _of_text(Moment))
_Loader.add_constructor("!second", _of_text(Second))
_Loader.add_constructor("!request_id", _of_text(SameRequestId))
_Loader.add_constructor("!public_key", _of_text(PublicKey))
_Loader.add_constructor("!either", _either)
_Loader.add_constructor("!picture", _picture)


@dataclass(frozen=True)
class Row:
    """One promise: what is asked, by whom, and what is answered."""

    file: str
    raw: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.file}: {self.promise}"

    @property
    def promise(self) -> str:
        """The promise, in one sentence."""
        return str(self.raw["promise"])

    @property
    def operation_id(self) -> str | None:
        """The operation that is asked for; None where the path is not one of the document's."""
        return self.raw.get("operation")

    @property
    def operation(self) -> OperationSpec | None:
        """That operation, as the document describes it."""
        return None if self.operation_id is None else OPERATIONS[self.operation_id]

    @property
    def dialect(self) -> str:
        """Whose words the answer is in: the operation's, or else problem+json, `status`'s."""
        return self.raw.get("dialect") or (self.operation.dialect if self.operation else "status")

    @property
    def expect(self) -> Mapping[str, Any]:
        """What is promised of the answer."""
        expected: Mapping[str, Any] = self.raw["expect"]
        return expected

    @property
    def refusal(self) -> str | None:
        """The code of the refusal that is expected."""
        return self.expect.get("refusal")

    @property
    def code(self) -> str | None:
        """What the dialect calls that refusal."""
        if self.refusal is None:
            return None
        return refusal_shapes().in_dialect(self.dialect, self.refusal).code

    @property
    def status(self) -> int:
        """The status that is expected; where a row does not say it, its refusal does."""
        if "status" in self.expect:
            return int(self.expect["status"])
        return refusal_shapes().in_dialect(self.dialect, self.expect["refusal"]).status

    @property
    def dribbles(self) -> bool:
        """Whether the request never sends all of its body."""
        return bool(self.raw.get("request", {}).get("dribble"))


@cache
def load_rows() -> tuple[Row, ...]:
    """Every row of every file, in their order.

    Raises:
        ValueError: A row has a key or names an operation that there is none of.
    """
    return tuple(row for file in FILES for row in _read(file))


@cache
def refusal_shapes() -> RefusalShapes:
    """What contracts/refusals.yaml says."""
    return RefusalShapes(_parse("refusals"))


def _parse(file: str) -> Any:
    # Its own loader is a safe one, with a few tags more.
    return yaml.load((FOLDER / f"{file}.yaml").read_bytes(), Loader=_Loader)  # noqa: S506


def _read(file: str) -> Iterator[Row]:
    for entry in _parse(file):
        for raw in members(entry, OPERATIONS.values()) if "for_each" in entry else [entry]:
            row = Row(file, raw)
            check_row(row)
            yield row


def check_row(row: Row) -> None:
    """See that the row is about something.

    Raises:
        ValueError: It has a key, or names an operation, a service or a refusal, that there is
            none of.
    """
    request, expect = row.raw.get("request", {}), row.expect
    unknown = (
        (row.raw.keys() - _KEYS) | (request.keys() - _REQUEST_KEYS) | (expect.keys() - _EXPECT_KEYS)
    )
    if unknown:
        message = f"{row}: {sorted(unknown)} are no keys of a row"
        raise ValueError(message)
    if row.operation_id is not None and row.operation_id not in OPERATIONS:
        message = f"{row}: {row.operation_id} is no operation of the document"
        raise ValueError(message)
    if row.raw.get("service", "closed") not in SERVICES:
        message = f"{row}: {row.raw['service']} is no service"
        raise ValueError(message)
    if row.refusal is not None and row.refusal not in refusal_shapes().codes:
        message = f"{row}: {row.refusal} is no refusal"
        raise ValueError(message)
