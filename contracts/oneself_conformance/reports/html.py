"""Conformance report as a self-contained HTML page without scripts."""

import re
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from pathlib import Path

from oneself_conformance.levels import Level
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.reports.completeness import OperationSeen, Seen
from oneself_conformance.reports.grouping import Group, group_failures, group_skipped
from oneself_conformance.reports.run import RunReport
from oneself_conformance.reports.style import STYLE

_MARKS = {Verdict.PASSED: "✓", Verdict.FAILED: "✗", Verdict.SKIPPED: "○", None: "·"}  # signs
_WORDS = {Verdict.PASSED: "seen", Verdict.FAILED: "failed", Verdict.SKIPPED: "not asked"}
_COLUMNS = ("success", "effect", "refusals")
#: Where a name may be broken on a narrow screen.
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
#: Reasons shown at once; the others are folded.
_MAX_GROUPS = 8


def write_html(report: RunReport, path: Path) -> None:
    """Write the page: verdict and matrix, then failed, skipped and passed tests, folded."""
    path.write_text("\n".join(_page(report)) + "\n")


def _page(report: RunReport) -> Iterator[str]:
    title = f"Conformance report: {escape(report.url)}"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>"
    kind = {0: "passed", 1: "failed"}.get(report.status, "skipped")
    yield f'<header><p class="soft">Conformance report</p><h1>{escape(report.url)}</h1>'
    yield f'<p class="verdict {kind}">{escape(report.verdict)}</p>'
    yield f'<p class="soft">{escape(_scope(report))}</p></header>'
    yield from _counts(report)
    yield from _matrix(report)
    yield from _failures(group_failures(report.outcomes))
    yield from _skipped(group_skipped(report.outcomes))
    yield from _passed([each for each in report.outcomes if each.verdict is Verdict.PASSED])
    yield f"<footer>{_facts(report)}</footer>\n</main>\n</body>\n</html>"


def _scope(report: RunReport) -> str:
    facts = report.facts
    dialect = facts.dialect or "all dialects"
    began = facts.started.replace("T", " ").replace("+00:00", " UTC")
    return f"{dialect}, held to level {facts.hold}, {began}"


def _counts(report: RunReport) -> Iterator[str]:
    head, *rows = report.count_table()
    yield '<section>\n<h2>Results</h2>\n<table class="counts"><thead><tr>'
    yield "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr></thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield '</tbody></table>\n<p class="soft">passed / failed / not asked</p>\n</section>'


def _matrix(report: RunReport) -> Iterator[str]:
    operations = report.operations
    levels = [
        level.title for level in Level if any(level.title in each.levels for each in operations)
    ]
    if not levels:
        return
    yield "<section>\n<h2>Operations</h2>"
    marks = ", ".join(f"{_mark(each)} {word}" for each, word in _WORDS.items())
    letters = ", ".join(f"{each[0]} {each}" for each in _COLUMNS)
    yield f'<p class="soft">{marks}, {_mark(None)} none demanded<span class="narrow">;'
    yield f" {letters}</span></p>"
    yield '<table class="matrix"><thead><tr><td></td>'
    yield "".join(f'<th colspan="3" scope="colgroup">{level}</th>' for level in levels)
    yield "</tr><tr><td></td>"
    column = "".join(
        f'<th scope="col"><span class="wide">{each}</span>'
        f'<span class="narrow" aria-hidden="true">{each[0]}</span></th>'
        for each in _COLUMNS
    )
    yield column * len(levels) + "</tr></thead>"
    for dialect, of_dialect in groupby(operations, lambda each: OPERATIONS[each.operation].dialect):
        yield f'<tbody><tr><th colspan="{1 + 3 * len(levels)}" scope="rowgroup">{dialect}</th></tr>'
        for each in of_dialect:
            yield from _operation(each, dialect, levels)
        yield "</tbody>"
    yield "</table>\n</section>"


def _operation(seen: OperationSeen, dialect: str, levels: Iterable[str]) -> Iterator[str]:
    missing = f" <em>no {' and no '.join(seen.missing)} seen</em>" if seen.missing else ""
    name = _CAMEL.sub("<wbr>", escape(seen.operation.removeprefix(f"{dialect}.")))
    yield f'<tr><th scope="row">{name}{missing}</th>'
    for level in levels:
        of_level = seen.levels.get(level)
        for number, cell in enumerate(_cells(of_level)):
            yield f'<td class="first">{cell}</td>' if number == 0 else f"<td>{cell}</td>"
    yield "</tr>"


def _cells(seen: Seen | None) -> Iterator[str]:
    if seen is None:
        yield from [_mark(None)] * len(_COLUMNS)
        return
    yield from (_mark(seen.success), _mark(seen.effect))
    verdicts = [*seen.refusals.values()]
    title = ", ".join(f"{status} {verdict}" for status, verdict in seen.refusals.items())
    if not verdicts:
        yield _mark(None)
        return
    worst = next(
        each for each in (Verdict.FAILED, Verdict.SKIPPED, Verdict.PASSED) if each in verdicts
    )
    number = f"{verdicts.count(Verdict.PASSED)}/{len(verdicts)}"
    yield f'<span class="{worst}" title="{title}">{number}</span>'


def _mark(verdict: Verdict | None) -> str:
    if verdict is None:
        return f'<span class="soft">{_MARKS[None]}</span>'
    word = _WORDS[verdict]
    return f'<span class="{verdict}" role="img" aria-label="{word}">{_MARKS[verdict]}</span>'


def _failures(groups: list[Group]) -> Iterator[str]:
    if not groups:
        return
    number = sum(len(group.outcomes) for group in groups)
    yield f'<section>\n<h2 class="failed">Failed: {number}</h2>'
    yield '<p class="soft">By cause; a test with several causes is under the most binding one.</p>'
    for group in groups:
        yield _summary(group.title, len(group.outcomes), "failed")
        for each in group.outcomes:
            yield f"<details><summary>{escape(each.promise)}</summary>"
            yield f"<pre>{escape(each.as_text())}</pre></details>"
        yield "</details>"
    yield "</section>"


def _skipped(groups: list[Group]) -> Iterator[str]:
    if not groups:
        return
    number = sum(len(group.outcomes) for group in groups)
    yield f'<section>\n<h2 class="skipped">Not asked: {number}</h2>'
    yield from _groups(groups[:_MAX_GROUPS])
    if rest := groups[_MAX_GROUPS:]:
        yield _summary("Other reasons", sum(len(group.outcomes) for group in rest), "skipped")
        yield from _groups(rest)
        yield "</details>"
    yield "</section>"


def _groups(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        yield _summary(group.title, len(group.outcomes), "skipped")
        yield from _promises(group.outcomes)
        yield "</details>"


def _passed(outcomes: list[Outcome]) -> Iterator[str]:
    if not outcomes:
        return
    yield f'<section>\n<h2 class="passed">Passed: {len(outcomes)}</h2>'

    def name(each: Outcome) -> str:
        return f"{each.suite}, {each.dialect}"

    for title, found in groupby(sorted(outcomes, key=name), name):
        of_group = [*found]
        yield _summary(title, len(of_group), "passed")
        yield from _promises(of_group)
        yield "</details>"
    yield "</section>"


def _summary(title: str, number: int, kind: str) -> str:
    badge = f'<span class="badge {kind}">{number}</span>'
    return f"<details><summary>{badge} {escape(title)}</summary>"


def _promises(outcomes: Iterable[Outcome]) -> Iterator[str]:
    yield "<ul>"
    for each in outcomes:
        yield f'<li>{escape(each.promise)} <span class="soft">{escape(each.source)}</span></li>'
    yield "</ul>"


def _facts(report: RunReport) -> str:
    facts = report.facts
    seeds = ", ".join(map(str, facts.seeds))
    return escape(
        f"oneself-conformance {facts.version}; document {facts.document[:12]}, tests"
        f" {facts.rows[:12]}; suites {', '.join(facts.suites)}; seeds {seeds}."
    )
