"""Prints the instructions of the processor that a request takes, and holds them to a reference.

Callgrind counts them, so that nothing else on the machine changes the number: two runs differ by
less than half a percent. The application is started once and then forked for each request, one fork
that asks nothing and one that asks some times; the difference is theirs. Which stage has grown is
told by tests/unit/oneself/http/test_call_counts.py and by the other rows: `/healthz` is guard,
routing and rendering, and what a credential or a body brings along are the differences to it.

The numbers are those of one Python and one set of libraries: on any other the reference is of no
use, and has to be written anew, with `--write`.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.in_process import Application, Request
from bench.stages_cases import application_with_people

REFERENCE = Path(__file__).with_name("stages_instructions.json")
#: How often each request is asked, for nothing and to be counted.
BEFORE, COUNTED = 5, 20
#: Percent, up or down: below it the reference no longer says what a request costs.
BOUND = 5


def ask() -> None:
    """Ask in processes of their own, and print which of them asked what."""
    with application_with_people() as (application, requests):
        application.begin_anew()
        print(
            json.dumps(
                {
                    name: [
                        forked(application, [request] * number)
                        for number in (BEFORE, BEFORE + COUNTED)
                    ]
                    for name, request in requests.items()
                }
            )
        )


def forked(application: Application, requests: Sequence[Request]) -> int:
    """Ask in a process of its own, whose number is returned."""
    if process := os.fork():
        os.waitpid(process, 0)
        return process
    application.begin_anew()
    application.ask(requests)
    os._exit(0)


def count(folder: str) -> Mapping[str, int]:
    """The instructions of each request."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit("valgrind is missing (Debian: apt-get install valgrind)")
    counting = [valgrind, "--quiet", "--tool=callgrind", f"--callgrind-out-file={folder}/%p"]
    asking = [sys.executable, "-m", "bench.stages_instructions", "--ask"]
    # By another seed, sets and dicts would be walked in another order.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([*counting, *asking], env=environment, stdout=subprocess.PIPE, check=True)
    return {
        name: (total(folder, many) - total(folder, few)) // COUNTED
        for name, (few, many) in json.loads(done.stdout).items()
    }


def total(folder: str, process: int) -> int:
    """All instructions of one process."""
    written = (Path(folder) / str(process)).read_text()
    return sum(map(int, re.findall(r"^summary: (\d+)$", written, re.MULTILINE)))


def compare(counted: Mapping[str, int], reference: Mapping[str, int]) -> bool:
    """Print what each request takes, and tell whether all of it is as it was."""
    passed = counted.keys() == reference.keys()
    for name, number in counted.items():
        before = reference.get(name, number)
        percent = (number / before - 1) * 100
        good = abs(percent) <= BOUND
        passed = passed and good
        print(f"{name:26} {number:12,} instructions, {percent:+6.2f} %", end="")
        print(f"    {'PASS' if good else 'FAIL'}")
    return passed


def main() -> None:
    """Count and compare; the exit status is 1 where a request takes more or less than it did."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the reference anew")
    parser.add_argument("--ask", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.ask:
        ask()
        return
    with tempfile.TemporaryDirectory(prefix="oneself-instructions-") as folder:
        counted = count(folder)
    here = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"
    if chosen.write:
        written = {"python": here, "requests": counted}
        REFERENCE.write_text(json.dumps(written, indent=2) + "\n")
    reference = json.loads(REFERENCE.read_text())
    passed = compare(counted, reference["requests"])
    if reference["python"] != here:
        print(f"No verdict: the reference is of {reference['python']}, and this is {here}.")
        return
    print(f"{'PASS' if passed else 'FAIL'}: within {BOUND} % of the reference")
    sys.exit(0 if passed else 1)


main()
