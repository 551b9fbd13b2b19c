"""Conformance report as a self-contained HTML page."""

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from oneself_conformance.outcomes import Verdict
from oneself_conformance.reports.run import RunReport

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #b3261e; --good: #1b7f4b; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
details { border-bottom: 1px solid var(--line); padding: .4rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .6rem; }
pre { border: 1px solid var(--line); border-radius: .3rem; overflow-x: auto; }
.failed { color: var(--bad); }
.passed { color: var(--good); }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #7ddfa6; } }
"""


def write_html(report: RunReport, path: Path) -> None:
    """Write the page: verdict and counts, operations, then failed, skipped and passed tests."""
    path.write_text("\n".join(_page(report)) + "\n")


def _page(report: RunReport) -> Iterator[str]:
    title = f"Conformance report: {escape(report.url)}"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    yield f"<h1>{title}</h1>"
    yield f"<p>{datetime.now(UTC).replace(microsecond=0).isoformat()}</p>"
    yield f"<p><strong>{escape(report.verdict)}</strong></p>"
    for table in (report.count_table(), report.operation_table()):
        yield "<table>"
        for row in table:
            yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        yield "</table>"
    for verdict in (Verdict.FAILED, Verdict.SKIPPED, Verdict.PASSED):
        found = [each for each in report.outcomes if each.verdict is verdict]
        yield f'<h2 class="{verdict.value}">{verdict.value.capitalize()}: {len(found)}</h2>'
        is_open = " open" if verdict is Verdict.FAILED else ""
        for each in found:
            yield f"<details{is_open}>\n<summary>{escape(each.promise)}</summary>"
            yield f"<pre>{escape(each.as_text())}</pre>\n</details>"
    yield "</body>\n</html>"
