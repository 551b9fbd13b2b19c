"""From whatever bytes were uploaded to a picture that holds nothing but its pixels."""

import hashlib
import io
import warnings
from typing import NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from accounts.errors import UnreadablePicture

__all__ = ["MEDIA_TYPE", "EncodedPicture", "encode_picture"]

#: What every picture becomes, whatever it was.
MEDIA_TYPE = "image/webp"

# The others that Pillow reads have had most of its advisories, and some of them are no pictures
# but programs (IM-01, CVE-2026-40192).
_FORMATS = ("PNG", "JPEG", "WEBP")
# Pillow warns at 144 million, after which 20 MB of file can be half a gigabyte of pixels (IM-02).
_MOST_PIXELS = 25_000_000
_LONGEST_SIDE = 10_000
_SIDE = 512
_QUALITY = 85

#: How to turn a picture by the orientation that its camera noted (Exif 2.3, section 4.6.4).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class EncodedPicture(NamedTuple):
    """A picture of at most 512 by 512 pixels, in WebP; `tag` is SHA-256 over its bytes, in hex."""

    content: bytes
    tag: str


def encode_picture(uploaded: bytes) -> EncodedPicture:
    """Read a PNG, JPEG or WebP by its content and write it anew, smaller and without metadata.

    Of several frames the first is taken (IM-04). The orientation that a camera noted is applied,
    and the note goes with place, comments, profiles and what else was in the file (IM-03).

    Raises:
        UnreadablePicture: It is none of the three, is cut short, or has more than 25 million
            pixels; told from its header, before anything is decoded.
    """
    try:
        with warnings.catch_warnings():
            # Of its own limit, which is above ours, and of notes that are broken, which go. Told to
            # standard error they would stand in the log as what is no JSON (LO-05).
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(uploaded), formats=_FORMATS) as opened:
                _check_size(opened.size)
                # JPEG can be decoded at an eighth, a quarter or a half, as large as is needed.
                opened.draft("RGB", (_SIDE * 2, _SIDE * 2))
                return _write(opened)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadablePicture from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as error:
        # What Pillow's readers raise over broken files is as many kinds as there are readers.
        raise UnreadablePicture from error


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if not 0 < width * height <= _MOST_PIXELS or max(size) > _LONGEST_SIDE:
        raise UnreadablePicture


def _turn_of(opened: Image.Image) -> Image.Transpose | None:
    """How its camera says that a picture is to be turned; not at all, if that cannot be read.

    Pillow's own turning puts the other notes together anew, and fails over any that makes no
    sense. Here none is written again.
    """
    try:
        return _TURNS.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 # whatever its reader raises, a picture is more than its notes
        return None


def _write(opened: Image.Image) -> EncodedPicture:
    # Pixels first: what is wrong with them must not pass for something wrong with the notes.
    opened.load()
    turn = _turn_of(opened)
    transparent = "A" in opened.getbands() or "transparency" in opened.info
    if opened.mode.startswith("I"):
        # 16 bits of grey, of which a conversion would cut off what is above 255.
        plain = opened.convert("I").point(lambda grey: grey / 256).convert("L").convert("RGB")
    else:
        plain = opened.convert("RGBA" if transparent else "RGB")
    plain.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    if turn is not None:
        plain = plain.transpose(turn)
    # A new image of the pixels alone: what was noted beside them stays behind.
    bare = Image.frombytes(plain.mode, plain.size, plain.tobytes())
    written = io.BytesIO()
    bare.save(written, "WEBP", quality=_QUALITY, method=4)
    content = written.getvalue()
    return EncodedPicture(content, hashlib.sha256(content).hexdigest())
