"""Run the conformance tests: `python -m oneself_conformance`."""

import sys

from oneself_conformance.cli import main

if __name__ == "__main__":
    sys.exit(main())
