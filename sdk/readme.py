"""The quick starts of the README, reused in the READMEs of the packages."""

from pathlib import Path

__all__ = ["quick_start"]

_README = Path(__file__).parent.parent / "README.md"


def quick_start(language: str) -> str:
    """Return the section of the README about an SDK, without its heading.

    Raises:
        ValueError: There is no such section.
    """
    _, heading, rest = _README.read_text().partition(f"\n### From {language}\n")
    if not heading:
        msg = f"the README has no section on {language}"
        raise ValueError(msg)
    return rest.partition("\n#")[0].strip()
