"""The rows that repeat one rule at every operation, and one of each for each dialect."""

from collections.abc import Iterable, Mapping

from oneself_conformance.cases.table import Row

__all__ = ["edge_rows", "repetitions"]


def edge_rows(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    """Return the generated rows by operation, without those that need a server.

    It ends slow bodies, and removes the body of an answer to HEAD; some rows need other settings.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        is_generated = row.file == "edge" and row.operation_id is not None
        needs_server = row.dribbles or row.raw.get("method") == "HEAD" or "service" in row.raw
        if is_generated and not needs_server:
            found.setdefault(str(row.operation_id), []).append(row)
    return found


def repetitions(rows: Iterable[Row]) -> frozenset[str]:
    """Return the names of the generated rows whose rule an earlier row of the dialect has shown.

    The rule is the title without the operation and, for a keyword of a schema, without its place.
    """
    seen, repeated = set(), set()
    for each in edge_rows(rows).values():
        for row in each:
            title = row.promise.replace(str(row.operation_id), "")
            rule = (row.dialect, title.partition(" on ")[0] if " enforces " in title else title)
            if rule in seen:
                repeated.add(str(row))
            seen.add(rule)
    return frozenset(repeated)
