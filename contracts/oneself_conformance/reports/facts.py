"""The facts of a run that another one needs to check its reports."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from oneself_conformance.document import DATA, load_document
from oneself_conformance.levels import Level
from oneself_conformance.recipe import Recipe
from oneself_conformance.suite import Suite
from oneself_conformance.targets import Deployment

__all__ = ["RunFacts", "document_digest", "kit_version", "rows_digest"]


def kit_version() -> str:
    """Return the version of this package."""
    checkout = DATA.parents[1] / "pyproject.toml"
    if checkout.is_file():  # which need not be installed
        return str(tomllib.loads(checkout.read_text())["project"]["version"])
    return version("oneself-conformance")


@cache
def document_digest() -> str:
    """Return the SHA-256 of the document, which formatting and comments do not change."""
    content = json.dumps(load_document(), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


@cache
def rows_digest() -> str:
    """Return the SHA-256 of the tests: of all data but the document."""
    digest = hashlib.sha256()
    for path in sorted(DATA.rglob("*.yaml")):
        if path != DATA / "openapi.yaml":
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(DATA).as_posix()} {content}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class RunFacts:
    """The versions and the options of a run, and when it began.

    `document` and `rows` are digests. `dialect` and `promise` are empty without such an option.
    `signs_up` says that rows for users of their own were asked of another service.
    """

    url: str
    started: str
    version: str
    document: str
    rows: str
    dialect: str
    hold: str
    suites: tuple[str, ...]
    operations: tuple[str, ...]
    promise: str
    examples: int
    seeds: tuple[int, ...]
    signs_up: bool

    @classmethod
    def of(cls, run: Suite) -> Self:
        """Return the facts of a run that begins now."""
        return cls(
            url=run.deployment.url,
            started=datetime.now(UTC).replace(microsecond=0).isoformat(),
            version=kit_version(),
            document=document_digest(),
            rows=rows_digest(),
            dialect=run.dialect or "",
            hold=run.deployment.hold.title,
            suites=tuple(run.suites),
            operations=tuple(sorted(run.operations or ())),
            promise=run.promise or "",
            examples=run.examples,
            seeds=tuple(run.seeds),
            signs_up=run.can_sign_up,
        )

    @property
    def properties(self) -> dict[str, str]:
        """The facts as texts, for reports."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> Self:
        """Return the facts that a report has.

        Raises:
            KeyError, TypeError, ValueError: One of them is missing or malformed.
        """
        values: dict[str, Any] = {}
        for each in fields(cls):
            value = json.loads(properties[each.name])
            values[each.name] = tuple(value) if isinstance(value, list) else value
        Level[values["hold"].upper()]
        return cls(**values)

    def as_suite(self) -> Suite:
        """Return a suite that selects the same tests, and cannot run them."""
        recipe = Recipe(sign_up={}) if self.signs_up else Recipe()
        deployment = Deployment(self.url, {}, hold=Level[self.hold.upper()], recipe=recipe)
        return Suite(
            deployment,
            Path(),
            dialect=self.dialect or None,
            suites=self.suites,
            operations=frozenset(self.operations) or None,
            promise=self.promise or None,
            examples=self.examples,
            seeds=self.seeds,
        )
