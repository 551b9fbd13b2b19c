"""The quick starts of the README, which are the packages' too, so that they are written once."""

from pathlib import Path

__all__ = ["quick_start"]

_README = Path(__file__).parent.parent / "README.md"


def quick_start(language: str) -> str:
    """What the README says of an SDK, without its heading.

    Raises:
        ValueError: It says nothing.
    """
    _, heading, rest = _README.read_text().partition(f"\n### From {language}\n")
    if not heading:
        msg = f"the README has nothing on {language}"
        raise ValueError(msg)
    return rest.partition("\n#")[0].strip()
