"""Compare the processor instructions of requests with a reference.

Callgrind counts them, so other work on the machine does not matter: two runs differ by less than
half a percent. The application is started once and forked for each count, with few and with more
requests; their difference is counted. tests/unit/oneself/http/test_call_counts.py and the other
rows show which stage has grown: `/healthz` is guard, routing and rendering, and the cost of a
credential or a body is the difference to it.

The reference is only valid for its Python and libraries; for others, write a new one with
`--write`.
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
from bench.stages_cases import application_with_users

REFERENCE = Path(__file__).with_name("stages_instructions.json")
#: Requests before counting, and requests to count.
WARM_UP, COUNTED = 5, 20
#: The allowed difference from the reference, in percent.
BOUND = 5


def ask() -> None:
    """Send the requests in forked processes, and print the process ids."""
    with application_with_users() as (application, requests):
        application.reset_after_fork()
        print(
            json.dumps(
                {
                    name: [
                        forked(application, [request] * number)
                        for number in (WARM_UP, WARM_UP + COUNTED)
                    ]
                    for name, request in requests.items()
                }
            )
        )


def forked(application: Application, requests: Sequence[Request]) -> int:
    """Send the requests in a forked process; return its id."""
    if process := os.fork():
        os.waitpid(process, 0)
        return process
    application.reset_after_fork()
    application.ask(requests)
    os._exit(0)


def count(folder: str) -> Mapping[str, int]:
    """Return the instructions of each request."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit("valgrind is missing (Debian: apt-get install valgrind)")
    counting = [valgrind, "--quiet", "--tool=callgrind", f"--callgrind-out-file={folder}/%p"]
    asking = [sys.executable, "-m", "bench.stages_instructions", "--ask"]
    # A fixed seed, since the order of iteration depends on it.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([*counting, *asking], env=environment, stdout=subprocess.PIPE, check=True)
    return {
        name: (total(folder, many) - total(folder, few)) // COUNTED
        for name, (few, many) in json.loads(done.stdout).items()
    }


def total(folder: str, process: int) -> int:
    """Return the instructions of one process."""
    written = (Path(folder) / str(process)).read_text()
    return sum(map(int, re.findall(r"^summary: (\d+)$", written, re.MULTILINE)))


def compare(counted: Mapping[str, int], reference: Mapping[str, int]) -> bool:
    """Print the instructions of each request; return whether all match the reference."""
    passed = counted.keys() == reference.keys()
    for name, number in counted.items():
        before = reference.get(name, number)
        percent = (number / before - 1) * 100
        ok = abs(percent) <= BOUND
        passed = passed and ok
        print(f"{name:26} {number:12,} instructions, {percent:+6.2f} %", end="")
        print(f"    {'PASS' if ok else 'FAIL'}")
    return passed


def main() -> None:
    """Count and compare; exit with 1 if a request differs from the reference."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write a new reference")
    parser.add_argument("--ask", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask()
        return
    with tempfile.TemporaryDirectory(prefix="oneself-instructions-") as folder:
        counted = count(folder)
    here = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"
    if options.write:
        written = {"python": here, "requests": counted}
        REFERENCE.write_text(json.dumps(written, indent=2) + "\n")
    reference = json.loads(REFERENCE.read_text())
    passed = compare(counted, reference["requests"])
    if reference["python"] != here:
        print(f"No verdict: the reference is for {reference['python']}, and this is {here}.")
        return
    print(f"{'PASS' if passed else 'FAIL'}: within {BOUND} % of the reference")
    sys.exit(0 if passed else 1)


main()
