"""Loader of the rows in data/rows/, with families expanded over the operations."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from oneself_conformance.cases.expansion import expand_family
from oneself_conformance.cases.loader import parse_contract, refusal_shapes
from oneself_conformance.cases.published import Page, pages
from oneself_conformance.cases.refusal_shapes import DialectRefusal
from oneself_conformance.document import DATA, OperationSpec, load_document
from oneself_conformance.levels import PAGES, Level, level_of
from oneself_conformance.operations import OPERATIONS

#: The services with other than default settings; see tests/support/services.py.
SERVICES = frozenset({"closed", "frozen", "scarce"})
_TAGS = tuple(tag["name"] for tag in load_document()["tags"])
FILES = (*_TAGS, "edge", *(f"published/{name}" for name in PAGES if name in _TAGS))

#: What only an operator can give to a user who has signed up.
_OF_A_TENANT = re.compile(
    r"'with': \[?'(jwt|pat|client)'|, '(jwt|pat|client)'\]|'add client'"
    r"|(me|fresh)\.(jwt|pat|client|client_id|tenant_uuid|refresh_token)"
)

#: The schema is for editors and tests; only its keys are checked when rows are read.
_SHAPES = json.loads((DATA / "rows.schema.json").read_bytes())["definitions"]
_KEYS, _REQUEST_KEYS, _EXPECT_KEYS = (
    frozenset(_SHAPES[name]["properties"]) for name in ("row", "request", "expect")
)


@dataclass(frozen=True)
class Row:
    """One test: a request, its user and credential, and the expected response."""

    file: str
    raw: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.file}: {self.promise}"

    @property
    def promise(self) -> str:
        """The title, one sentence."""
        return str(self.raw["promise"])

    @property
    def operation_id(self) -> str | None:
        """The operation called; None if the path is not in the document."""
        return self.raw.get("operation")

    @property
    def operation(self) -> OperationSpec | None:
        """The operation as the document describes it."""
        return None if self.operation_id is None else OPERATIONS[self.operation_id]

    @property
    def dialect(self) -> str:
        """The dialect of the response: the operation's, or by default `status`, problem+json."""
        return self.raw.get("dialect") or (self.operation.dialect if self.operation else "status")

    @property
    def expect(self) -> Mapping[str, Any]:
        """The expected response."""
        expected: Mapping[str, Any] = self.raw["expect"]
        return expected

    @property
    def refusal(self) -> str | None:
        """The code of the expected refusal."""
        return self.expect.get("refusal")

    @property
    def expected_refusal(self) -> DialectRefusal | None:
        """The expected refusal in the form of the dialect."""
        if self.refusal is None:
            return None
        details = {name: self.expect.get(name) for name in ("says", "violations", "notices")}
        return refusal_shapes().in_dialect(self.dialect, self.refusal, **details)

    @property
    def code(self) -> str | None:
        """The dialect's own code of that refusal."""
        return None if self.expected_refusal is None else self.expected_refusal.code

    @property
    def status(self) -> int:
        """The expected status, by default the one of the refusal."""
        if "status" in self.expect or self.expected_refusal is None:
            return int(self.expect["status"])
        return self.expected_refusal.status

    @property
    def source(self) -> str:
        """The page and section, the standard, or the part of the document that demands it."""
        return str(self.raw.get("source", ""))

    @property
    def requests(self) -> list[Mapping[str, Any]]:
        """The steps before and after, and the row itself."""
        return [*self.raw.get("before", ()), self.raw, *self.raw.get("after", ())]

    @property
    def needs_client(self) -> bool:
        """True if the row needs a client of the user's tenant, or the UUID of that tenant."""
        own_steps = [{"with": "client"} if _takes_client(each) else each for each in self.requests]
        return bool(_OF_A_TENANT.search(str([self.raw.get("expect"), own_steps])))

    @property
    def level(self) -> Level:
        """The level of the row's own assertions.

        An RFC says what a status of `edge` means, and not that it must be the one of such a case.
        """
        return Level.HOUSE if self.file == "edge" else level_of(self.source, self.dialect)

    @property
    def page(self) -> Page | None:
        """The published page of the operation; None if it has no page."""
        return pages().get(self.operation_id or "")

    @property
    def published(self) -> Mapping[str, Any]:
        """The part of the expected response that the page demands, beside its own members."""
        expected: Mapping[str, Any] = self.expect.get("published", {})
        return expected

    @property
    def printed_status(self) -> str:
        """The expected status, or its class if that is all that the page prints."""
        if "status" in self.published:
            return str(self.published["status"])
        has_page = self.level is Level.PUBLISHED and self.page
        return self.page.printed(self.status) if has_page and self.page else str(self.status)

    @property
    def dribbles(self) -> bool:
        """True if the request never completes its body."""
        return bool(self.raw.get("request", {}).get("dribble"))


@cache
def load_rows() -> tuple[Row, ...]:
    """Return all rows of all files, in order; each has passed `check_row`."""
    return tuple(row for file in FILES for row in _read(file))


def _read(file: str) -> Iterator[Row]:
    for entry in parse_contract(f"rows/{file}"):
        for raw in expand_family(entry, OPERATIONS.values()) if "for_each" in entry else [entry]:
            row = Row(file, raw)
            check_row(row)
            yield row


def _takes_client(step: Mapping[str, Any]) -> bool:
    operation = OPERATIONS.get(step.get("operation", ""))
    return operation is not None and operation.takes_client and "with" not in step


def check_row(row: Row) -> None:
    """Raise `ValueError` if a row has an unknown key, operation, service or refusal."""
    request, expect = row.raw.get("request", {}), row.expect
    unknown = (
        (row.raw.keys() - _KEYS) | (request.keys() - _REQUEST_KEYS) | (expect.keys() - _EXPECT_KEYS)
    )
    if unknown:
        raise ValueError(f"{row}: unknown keys {sorted(unknown)}")
    for what, name, known in (
        ("operation", row.operation_id, OPERATIONS),
        ("service", row.raw.get("service"), SERVICES),
        ("refusal", row.refusal, refusal_shapes().codes),
    ):
        if name is not None and name not in known:
            raise ValueError(f"{row}: unknown {what} {name}")
