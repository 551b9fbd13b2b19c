"""The folder of a run, in the form of Kubernetes' conformance results."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from oneself_conformance.outcomes import Verdict
from oneself_conformance.reports.har import write_har
from oneself_conformance.reports.html import write_html
from oneself_conformance.reports.junit import OVERLOADED, write_junit
from oneself_conformance.reports.run import FAILED, RunReport
from oneself_conformance.suite import Step

__all__ = [
    "BADGE",
    "FILES",
    "HAR",
    "HTML",
    "JUNIT",
    "LOG",
    "PRODUCT",
    "README",
    "RunFolder",
    "badge",
]

README, PRODUCT, JUNIT, LOG, HTML, HAR, BADGE = FILES = (
    "README.md", "PRODUCT.yaml", "junit.xml", "run.log", "report.html", "run.har", "badge.json",
)  # fmt: skip

_README = """# Conformance of {product}

**{verdict}**

{scope}

| suite | published | standard | house |
|---|---|---|---|
{counts}

Passed, failed and not asked.

| | |
|---|---|
{facts}

- `PRODUCT.yaml`: the product, its version and its address.
- `junit.xml`: each test with its verdict.
- `run.log`: the tests in the order in which they ended.
- `report.html`: the verdict, what was seen of each operation, and failures with details.
- `run.har`: the requests and responses of the rows, with placeholders for secrets.
- `badge.json`: an endpoint badge of shields.io.

Check this folder with the same version of the tests:

```sh
oneself-conformance verify .
```
"""


class RunFolder:
    """A folder of reports; the log is written while the tests run."""

    def __init__(self, path: Path, report: RunReport) -> None:
        self._path = path
        self._report = report
        path.mkdir(parents=True, exist_ok=True)
        self._log = (path / LOG).open("w")
        for name, value in report.facts.properties.items():
            self._log.write(f"# {name}: {value}\n")

    def log(self, step: Step) -> None:
        """Append the outcomes of a step, at once, so that a killed run leaves them."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        for each in step.outcomes:
            promise = " ".join(self._report.mask.apply(each.promise).split())
            verdict = OVERLOADED if each.overloaded else each.verdict
            self._log.write(f"{now} {verdict} {each.suite} {promise}\n")
        self._log.flush()

    def finish(self, product: str, version: str) -> None:
        """Write all other files."""
        report, path = self._report, self._path
        self._log.write(f"# verdict: {report.verdict}\n")
        self._log.close()
        write_junit(report, path / JUNIT)
        write_html(report, path / HTML)
        write_har(report.exchanges, report.url, report.mask, path / HAR)
        (path / BADGE).write_text(json.dumps(badge(report)) + "\n")
        named = product or urlsplit(report.url).netloc
        content = {
            "name": named,
            "version": version or "not stated",
            "url": report.url,
            "dialect": report.facts.dialect or "all",
            "level": report.facts.hold,
            "verdict": report.verdict,
        }
        (path / PRODUCT).write_text(yaml.safe_dump(content, sort_keys=False))
        (path / README).write_text(_readme(report, f"{named} {version}".strip()))


def badge(report: RunReport) -> Mapping[str, Any]:
    """Return an endpoint badge of shields.io."""
    passed = sum(each.verdict is Verdict.PASSED for each in report.outcomes)
    colours = {0: "brightgreen", FAILED: "red"}
    words = {0: f"{report.facts.hold}, {passed} passed", FAILED: "failed"}
    return {
        "schemaVersion": 1,
        "label": f"{report.facts.dialect or 'account API'} conformance",
        "message": words.get(report.status, "incomplete"),
        "color": colours.get(report.status, "yellow"),
        "isError": report.status == FAILED,
    }


def _readme(report: RunReport, product: str) -> str:
    facts = report.facts
    return _README.format(
        product=product,
        verdict=report.verdict,
        scope=f"Held to level {facts.hold} of {facts.dialect or 'all dialects'} at {facts.url}.",
        counts="\n".join(f"| {' | '.join(row)} |" for row in report.count_table()[1:]),
        facts="\n".join(f"| {name} | `{value}` |" for name, value in facts.properties.items()),
    )
