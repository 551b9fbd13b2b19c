"""Compare the requests per second of the service with the floor and the peers.

All servers run at the same time, with one worker each on one processor; wrk runs on another. In
each round every server is measured in turn for a few seconds, while the others are idle. So
disturbances on the machine affect all of them alike, and ratios are taken within a round.
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
    """Compare and print; with `--write`, also write the figures and the plot."""
    options = _arguments()
    tables: list[Table] = []
    for database in options.databases:
        with _servers(database, options.contenders) as targets:
            tables += [
                _measure(case, database, connections, targets, options)
                for case in options.cases
                for connections in _connections_for(case, options.connections)
            ]
    print(f"\n{_machine()}")
    print(as_markdown(tables, FLOOR))
    if options.write is not None:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "compare.json").write_text(json.dumps(tables))
        (options.write / "compare.svg").write_text(draw(tables, FLOOR))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), type=_one_of(CASES))
    parser.add_argument(
        "--databases", default="sqlite,postgresql", type=_one_of(("sqlite", "postgresql"))
    )
    parser.add_argument("--contenders", default="", help="parts of names, separated by commas")
    parser.add_argument("--connections", default="1,16,256")
    parser.add_argument("--rounds", default=7, type=int)
    parser.add_argument(
        "--seconds", default=2.0, type=float, help="duration of each run in a round"
    )
    parser.add_argument("--write", type=Path, help="a folder for the figures and the plot")
    return parser.parse_args()


def _one_of(choices: object) -> object:
    def read(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(choices):  # type: ignore[call-overload]
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
        return chosen

    return read


def _connections_for(case: str, connections: str) -> list[int]:
    """Return all numbers of connections for the first case, the main comparison."""
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
    """Run PostgreSQL with default durability on the load generator's processor."""
    from tests.support.postgresql import databases  # noqa: PLC0415 # only needed here

    with databases(durable=True) as made:
        yield lambda: made.make().set(drivername="postgresql").render_as_string(hide_password=False)


def _measure(
    case: str,
    database: str,
    connections: int,
    targets: dict[str, Target],
    options: argparse.Namespace,
) -> Table:
    measured = {name: each for name, each in targets.items() if case in each.requests}
    rows = {name: Row(name, [], [], [], []) for name in measured}
    for number in range(-1, options.rounds):
        for name, target in measured.items():
            wait_until_idle()
            found = ask(
                target.port,
                target.requests[case],
                connections=connections,
                seconds=WARM_UP if number < 0 else options.seconds,
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
