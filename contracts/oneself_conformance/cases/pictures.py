"""Pictures of one colour in several formats, written without a library for images.

Each writer uses as little of its format as a decoder needs: one code of zero or one bit stands
for every pixel, so that a large picture is a small file.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

__all__ = ["make_picture", "read_webp_size"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_GIF_BLOCK = 0xFF


def make_picture(kind: str, size: tuple[int, int]) -> bytes:
    """Return a picture in a format: png, jpeg, webp or gif."""
    return _WRITERS[kind](*size)


def read_webp_size(content: bytes) -> tuple[int, int]:
    """Return width and height of exactly one WebP file without metadata (RFC 9649).

    Raises:
        ValueError: It is not such a file.
    """
    chunks = dict(_chunks_of(content))
    if not chunks.keys() <= {"VP8 ", "VP8L", "VP8X", "ALPH"}:
        raise ValueError("the file has metadata")
    if lossy := chunks.get("VP8 "):
        if lossy[3:6] != b"\x9d\x01\x2a":
            raise ValueError("not a key frame (RFC 6386, section 9.1)")
        width, height = struct.unpack_from("<HH", lossy, 6)
        return width & 0x3FFF, height & 0x3FFF
    lossless = chunks.get("VP8L", b"")
    if lossless[:1] != b"\x2f":
        raise ValueError("no picture (RFC 9649, section 3.4)")
    bits = int.from_bytes(lossless[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _chunks_of(webp: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the chunks of a WebP file (RFC 9649, section 2.3)."""
    if webp[:4] != b"RIFF" or webp[8:12] != b"WEBP" or _length(webp, 4) != len(webp) - 8:
        raise ValueError("not exactly one WebP file")
    offset = 12
    while offset < len(webp):
        length = _length(webp, offset + 4)
        yield webp[offset : offset + 4].decode("latin-1"), webp[offset + 8 : offset + 8 + length]
        offset += 8 + length + length % 2
    if offset != len(webp):
        raise ValueError("the last chunk is truncated")


def _length(content: bytes, offset: int) -> int:
    return int.from_bytes(content[offset : offset + 4], "little")


def _png(width: int, height: int) -> bytes:
    """Write a black picture with one bit for each pixel (W3C PNG, section 11)."""
    row = bytes(1 + (width + 7) // 8)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(row * height)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _jpeg(width: int, height: int) -> bytes:
    """Write a grey picture: each block has the two one-bit codes "no change" and "end"."""
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    one_code = bytes([1, *[0] * 15, 0])
    segments = (
        (0xDB, bytes(1) + bytes([1]) * 64),  # quantization
        (0xC0, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)),
        (0xC4, b"\x00" + one_code),
        (0xC4, b"\x10" + one_code),
        (0xDA, bytes([1, 1, 0, 0, 63, 0])),
    )
    heads = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments
    )
    return b"\xff\xd8" + heads + bytes((2 * blocks + 7) // 8) + b"\xff\xd9"


def _webp(width: int, height: int) -> bytes:
    """Write a lossless picture: five prefix codes of one symbol each (RFC 9649, section 3.7)."""
    bits = (width - 1) | (height - 1) << 14
    position = 14 + 14 + 1 + 3 + 1 + 1 + 1  # no alpha, version 0, no transform, cache or groups
    for _ in range(5):
        bits |= 1 << position  # a simple code, of one symbol, in one bit, which is 0
        position += 4
    data = b"\x2f" + bits.to_bytes((position + 7) // 8, "little")
    data += bytes(len(data) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def _gif(width: int, height: int) -> bytes:
    """Write a black picture without compression: a clear code before each pixel."""
    clear, end, bits, position = 4, 5, 0, 0
    for code in (*(clear, 0) * (width * height), end):
        bits |= code << position
        position += 3
    data = bits.to_bytes((position + 7) // 8, "little")
    if len(data) > _MAX_GIF_BLOCK:
        raise ValueError("a GIF of more than one block is not needed")
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)
    return head + frame + bytes([2, len(data)]) + data + b"\x00;"


_WRITERS: Mapping[str, Callable[[int, int], bytes]] = {
    "png": _png, "jpeg": _jpeg, "webp": _webp, "gif": _gif,
}  # fmt: skip
