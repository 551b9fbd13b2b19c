"""`python -m oneself`."""

import sys


def run() -> None:
    """Run the command line; without the packages that it needs, say how to install them."""
    try:
        from oneself.commands import main  # noqa: PLC0415 # its failure is explained
    except ModuleNotFoundError as missing:
        if (missing.name or "oneself").startswith("oneself"):
            raise
        sys.exit(
            f"{sys.executable} has no module {missing.name}. Activate the virtual environment of"
            " the service, or install what it needs with: pip install --require-hashes -r"
            " requirements/runtime.txt"
        )
    main()


if __name__ == "__main__":
    run()
