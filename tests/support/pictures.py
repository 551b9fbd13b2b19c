"""Generated test pictures."""

import io
from collections.abc import Iterator
from typing import Any

from PIL import Image


def gradient(size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """Return a picture with a different colour at each pixel, always the same."""
    across = Image.linear_gradient("L").resize(size)
    down = across.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    radial = Image.radial_gradient("L").resize(size)
    return Image.merge("RGB", (across, down, radial)).convert(mode)


def empty(size: tuple[int, int]) -> Image.Image:
    """Return a black one-bit picture: a small file at any size."""
    return Image.new("1", size)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode a picture in a format of Pillow."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunks_of(webp: bytes) -> Iterator[tuple[str, int]]:
    """Yield the chunks of exactly one WebP file with their lengths (RFC 9649, section 2.3)."""
    if webp[:4] != b"RIFF" or webp[8:12] != b"WEBP" or _length(webp, 4) != len(webp) - 8:
        raise ValueError("not exactly one WebP file")
    offset = 12
    while offset < len(webp):
        length = _length(webp, offset + 4)
        yield webp[offset : offset + 4].decode("ascii"), length
        offset += 8 + length + length % 2
    if offset != len(webp):
        raise ValueError("the last chunk is truncated")


def read_webp(content: bytes) -> Image.Image:
    """Decode a WebP file completely."""
    with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
        image.load()
        return image.copy()


def _length(content: bytes, offset: int) -> int:
    return int.from_bytes(content[offset : offset + 4], "little")
