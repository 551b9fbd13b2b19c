"""Print the start-up time of the service, and the memory of each process."""

import statistics
import tempfile

from contenders import CONTENDERS, Target
from load import ask
from servers import memory
from service import served

ROUNDS = 5
#: Long enough for a worker to load everything that it loads lazily.
SECONDS = 2.0


def start_up() -> None:
    """Print the seconds from `serve` to the first response, on an existing SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(ROUNDS):
            with served(folder) as (server, _users):
                seconds.append(server.started)
    print("start to first response, existing SQLite file: ", end="")
    print(f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")


def resident(name: str, target: Target) -> None:
    """Print the resident memory of a server after its start and after a load."""
    before = memory(target.process)
    for request in target.requests.values():
        ask(target.port, request, connections=16, seconds=SECONDS)
    after = memory(target.process)
    written = [" + ".join(f"{each:.0f}" for each in found) for found in (before, after)]
    print(f"{name}: {written[0]} MiB, after a load of each request {written[1]} MiB")


def main() -> None:
    """Measure the start-up, and the memory of all servers."""
    start_up()
    for contender in CONTENDERS:
        with contender.start(None) as target:
            resident(contender.name, target)


if __name__ == "__main__":
    main()
