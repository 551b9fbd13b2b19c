"""Prints how many requests the service answers beside the floor and the peers, as ratios.

All servers are started first, one worker each, on one processor; wrk asks from another. What is
not asked is idle. In each round every server is asked in turn for a few seconds, so that whatever
else the machine does meanwhile meets all of them alike, and ratios are taken within a round.
"""

import argparse
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from contenders import CONTENDERS, Target
from load import ask
from plot import draw
from processors import wait_until_idle
from report import Row, Table, as_markdown

CASES = {
    "session": "current user, by session",
    "access-token": "current user, by access token",
    "api-key": "current user, by API key",
    "pat": "current user, by personal access token",
    "jwt": "current user, by JWT",
    "profile": "PATCH of the profile, durable",
    "settings": "PATCH of the settings, durable",
    "bad-body": "400 for a bad body",
}
#: The reference of each comparison.
FLOOR = "floor on Granian"
WARM_UP = 1.0


def main() -> None:
    """Compare, and print; figures are also written where `--write` says."""
    wanted = _arguments()
    tables: list[Table] = []
    for database in wanted.databases:
        with _servers(database, wanted.contenders) as targets:
            tables += [
                _measure(case, database, connections, targets, wanted)
                for case in wanted.cases
                for connections in _sensible(case, wanted.connections)
            ]
    print(f"\n{_machine()}")
    print(as_markdown(tables, FLOOR))
    if wanted.write is not None:
        wanted.write.mkdir(parents=True, exist_ok=True)
        (wanted.write / "compare.json").write_text(json.dumps(tables))
        (wanted.write / "compare.svg").write_text(draw(tables, FLOOR))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), type=_one_of(CASES))
    parser.add_argument(
        "--databases", default="sqlite,postgresql", type=_one_of(("sqlite", "postgresql"))
    )
    parser.add_argument("--contenders", default="", help="parts of names, by commas")
    parser.add_argument("--connections", default="1,16,256")
    parser.add_argument("--rounds", default=7, type=int)
    parser.add_argument("--seconds", default=2.0, type=float, help="of each run in a round")
    parser.add_argument("--write", type=Path, help="a folder for the figures and the plot")
    return parser.parse_args()


def _one_of(known: object) -> object:
    def read(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(known):  # type: ignore[call-overload]
            raise argparse.ArgumentTypeError(f"not known: {', '.join(unknown)}")
        return chosen

    return read


def _sensible(case: str, connections: str) -> list[int]:
    """Every number of connections for the first case, which is what others are compared by."""
    numbers = [int(each) for each in connections.split(",")]
    return numbers if case == "session" or len(numbers) == 1 else [16]


@contextmanager
def _servers(database: str, parts: str) -> Iterator[dict[str, Target]]:
    with ExitStack() as stack:
        make = stack.enter_context(_databases()) if database == "postgresql" else None
        yield {
            each.name: stack.enter_context(each.start(make() if make else None))
            for each in CONTENDERS
            if (each.on_postgresql or make is None)
            and any(part in each.name for part in parts.split(","))
        }


@contextmanager
def _databases() -> Iterator[object]:
    """A PostgreSQL on the processor that asks, durable as one is by default."""
    from tests.support.postgresql import databases  # noqa: PLC0415 # only who asks for it needs it

    with databases(durable=True) as made:
        yield lambda: made.make().set(drivername="postgresql").render_as_string(hide_password=False)


def _measure(
    case: str,
    database: str,
    connections: int,
    targets: dict[str, Target],
    wanted: argparse.Namespace,
) -> Table:
    asked = {name: each for name, each in targets.items() if case in each.requests}
    rows = {name: Row(name, [], [], [], []) for name in asked}
    for number in range(-1, wanted.rounds):
        for name, target in asked.items():
            wait_until_idle()
            found = ask(
                target.port,
                target.requests[case],
                connections=connections,
                seconds=WARM_UP if number < 0 else wanted.seconds,
            )
            if number >= 0:
                rows[name].add(found)
    print(f"{database}, {CASES[case]}, {connections} connections", file=sys.stderr)
    return Table(CASES[case], database, connections, list(rows.values()))


def _machine() -> str:
    [model, *_] = [
        line.partition(": ")[2]
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    when = datetime.now(UTC).date()
    return f"{when}, Python {platform.python_version()}, {model}, one processor for each server"


if __name__ == "__main__":
    main()
