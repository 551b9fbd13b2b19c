"""Re-encoding of uploaded pictures, which keeps nothing but the pixels."""

import hashlib
import io
import warnings
from typing import NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from accounts.errors import UnreadablePicture

#: The media type of every stored picture.
MEDIA_TYPE = "image/webp"

# The other formats of Pillow have had most of its advisories, and some of them are programs and not
# pictures (IM-01, CVE-2026-40192).
_FORMATS = ("PNG", "JPEG", "WEBP")
# Pillow warns at 144 million, where 20 MB of file can become half a gigabyte of pixels (IM-02).
_MAX_PIXELS = 25_000_000
_MAX_INPUT_SIDE = 10_000
_SIDE = 512
_QUALITY = 85

#: The transposition for each Exif orientation (Exif 2.3, section 4.6.4).
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class EncodedPicture(NamedTuple):
    """A WebP picture of at most 512 by 512 pixels; `tag` is the SHA-256 of its bytes in hex."""

    content: bytes
    tag: str


def encode_picture(content: bytes) -> EncodedPicture:
    """Re-encode a PNG, JPEG or WebP, recognised by its content, smaller and without metadata.

    The first of several frames is used (IM-04). The orientation noted by the camera is applied; the
    note itself, the place, comments, profiles and everything else are dropped (IM-03).

    Raises:
        UnreadablePicture: The file has another format, is cut short, or has more than 25 million
            pixels, which its header tells before anything is decoded.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns at its own limit, which is above ours, and about broken metadata, which
            # is dropped. On standard error the warnings would break the JSON log (LO-05).
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                _check_size(image.size)
                # JPEG can be decoded at an eighth, a quarter or a half: the least that is enough.
                image.draft("RGB", (_SIDE * 2, _SIDE * 2))
                return _write(image)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadablePicture from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as error:
        # Each reader of Pillow raises its own kinds of errors for broken files.
        raise UnreadablePicture from error


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if not 0 < width * height <= _MAX_PIXELS or max(size) > _MAX_INPUT_SIDE:
        raise UnreadablePicture


def _read_orientation(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that the camera noted, or None if it cannot be read.

    Pillow's own function rewrites the other metadata, and fails if any of it is malformed. Here no
    metadata is written.
    """
    try:
        return _TRANSPOSITIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 # broken metadata must not reject a picture, whichever error
        return None


def _write(image: Image.Image) -> EncodedPicture:
    # Pixels first: an error in them must not be taken for one in the metadata.
    image.load()
    turn = _read_orientation(image)
    transparent = "A" in image.getbands() or "transparency" in image.info
    if image.mode.startswith("I"):
        # 16 bits of grey; a plain conversion would clip the values above 255.
        pixels = image.convert("I").point(lambda grey: grey / 256).convert("L").convert("RGB")
    else:
        pixels = image.convert("RGBA" if transparent else "RGB")
    pixels.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    if turn is not None:
        pixels = pixels.transpose(turn)
    # A new image from the pixels alone leaves all metadata behind.
    bare = Image.frombytes(pixels.mode, pixels.size, pixels.tobytes())
    buffer = io.BytesIO()
    bare.save(buffer, "WEBP", quality=_QUALITY, method=4)
    content = buffer.getvalue()
    return EncodedPicture(content, hashlib.sha256(content).hexdigest())
