"""Conformance report as a self-contained HTML page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from oneself.conformance.outcomes import Outcome, Verdict
from oneself.conformance.reports.text import counts

_TEMPLATES = Path(__file__).parents[3] / "templates" / "conformance"


def write_html(outcomes: Sequence[Outcome], path: Path, *, url: str) -> None:
    """Write the page: the counts, then the failed, skipped and passed tests."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        url=url,
        made_at=datetime.now(UTC).replace(microsecond=0),
        counts=counts(outcomes),
        verdicts=[verdict.value for verdict in Verdict],
        sections=[
            (verdict.value, [each for each in outcomes if each.verdict is verdict])
            for verdict in (Verdict.FAILED, Verdict.SKIPPED, Verdict.PASSED)
        ],
    )
    path.write_text(page)
