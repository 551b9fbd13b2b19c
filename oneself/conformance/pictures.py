"""Pictures to upload, made here: a file in the repository would have to be believed."""

import io
from collections.abc import Iterator
from typing import Any

from PIL import Image

__all__ = ["chunks_of", "empty", "encoded", "gradient", "read_webp"]


def gradient(size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """A picture with colours of its own at each place, the same each time."""
    across = Image.linear_gradient("L").resize(size)
    down = across.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    round_ = Image.radial_gradient("L").resize(size)
    return Image.merge("RGB", (across, down, round_)).convert(mode)


def empty(size: tuple[int, int]) -> Image.Image:
    """A black picture of one bit a pixel, which is a small file however large it is."""
    return Image.new("1", size)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file of a kind that Pillow writes."""
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def chunks_of(webp: bytes) -> Iterator[tuple[str, int]]:
    """The chunks of a WebP file with their lengths (RFC 9649, section 2.3); nothing may follow.

    Raises:
        ValueError: It is none, or is not as long as it says.
    """
    if webp[:4] != b"RIFF" or webp[8:12] != b"WEBP" or _length(webp, 4) != len(webp) - 8:
        message = "no WebP file from its beginning to its end"
        raise ValueError(message)
    place = 12
    while place < len(webp):
        length = _length(webp, place + 4)
        yield webp[place : place + 4].decode("ascii"), length
        place += 8 + length + length % 2
    if place != len(webp):
        message = "its last chunk is cut short"
        raise ValueError(message)


def read_webp(content: bytes) -> Image.Image:
    """The picture in a WebP file, decoded to its last pixel."""
    with Image.open(io.BytesIO(content), formats=("WEBP",)) as opened:
        opened.load()
        return opened.copy()


def _length(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 4], "little")
