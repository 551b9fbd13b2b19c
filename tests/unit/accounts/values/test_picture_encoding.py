"""Re-encoding of uploaded pictures, which keeps nothing but the pixels."""

import hashlib
import io
import random
import re
import struct
import zipfile
import zlib
from pathlib import Path

import PIL
import pytest
from PIL import Image, ImageFile, PngImagePlugin, TiffTags, WebPImagePlugin

from accounts.errors import UnreadablePicture
from accounts.values.picture_encoding import MEDIA_TYPE, encode_picture
from tests.support.pictures import chunks_of, empty, encoded, gradient, read_webp

ROOT = Path(__file__).parents[4]
FORMATS = ("PNG", "JPEG", "WEBP")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION, DESCRIPTION, GPS, EXIF = 0x0112, 0x010E, 0x8825, 0x8769
#: A marker in each part of an upload, which no result may contain.
CANARY = b"canary-of-alice"


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a PNG chunk with its checksum (ISO/IEC 15948, section 5.3)."""
    data = name + content
    return struct.pack(">I", len(content)) + data + struct.pack(">I", zlib.crc32(data))


def png(*chunks: bytes) -> bytes:
    return PNG_SIGNATURE + b"".join(chunks) + chunk(b"IEND", b"")


def header(width: int, height: int) -> bytes:
    """Return a PNG header for one bit of grey per pixel."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))


def exif_with_orientation(number: int, **tags: object) -> bytes:
    """Return the EXIF of a camera with this orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = number
    for name, value in tags.items():
        exif[{"description": DESCRIPTION}[name]] = value
    return exif.tobytes()


def mean_colour(picture: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, ...]:
    """Return the mean colour of a part of a picture, since WebP is not exact to a pixel."""
    return picture.convert("RGB").crop(box).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))


def are_similar(first: tuple[int, ...], second: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(first, second, strict=True))


@pytest.fixture
def decoded_formats(monkeypatch) -> list[str]:
    """The format of each picture that Pillow decodes from now on."""
    formats = []
    for reader in (ImageFile.ImageFile, WebPImagePlugin.WebPImageFile):
        load = reader.load

        def recording_load(self, load=load):
            formats.append(self.format)
            return load(self)

        monkeypatch.setattr(reader, "load", recording_load)
    return formats


# Accepted pictures


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_becomes_webp(kind, decoded_formats):
    """IM-01, IM-03: of the same size and look, tagged with the digest of its bytes."""
    result = encode_picture(encoded(gradient(), kind))
    assert kind in decoded_formats
    assert MEDIA_TYPE == "image/webp"
    assert result.tag == hashlib.sha256(result.content).hexdigest()
    picture = read_webp(result.content)
    assert picture.size == (48, 32)
    for box in ((0, 0, 8, 8), (40, 0, 48, 8), (20, 12, 28, 20), (0, 24, 8, 32)):
        assert are_similar(mean_colour(picture, box), mean_colour(gradient(), box))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((511, 3), (511, 3)),
        ((512, 512), (512, 512)),
        ((513, 512), (512, 511)),
        ((1024, 512), (512, 256)),
        ((300, 900), (171, 512)),
        ((10_000, 1), (512, 1)),
        ((1, 10_000), (1, 512)),
        ((5000, 5000), (512, 512)),
    ],
    ids=str,
)
def test_picture_is_scaled_down_and_never_up(size, expected):
    """IM-03: at most 512 on the longest side, in its own proportions."""
    assert read_webp(encode_picture(encoded(empty(size))).content).size == expected


def test_tag_identifies_the_upload():
    """HT-17: the tag depends on the bytes only, which contain no time."""
    first, repeated, different = (
        encode_picture(encoded(picture)) for picture in (gradient(), gradient(), empty((48, 32)))
    )
    assert first == repeated
    assert first.tag != different.tag


MODES = {
    "1 bit": (Image.new("1", (32, 32), 1), {}, (255, 255, 255, 255)),
    "grey": (Image.new("L", (32, 32), 100), {}, (100, 100, 100, 255)),
    "grey of 16 bits": (Image.new("I;16", (32, 32), 0x6464), {}, (100, 100, 100, 255)),
    "grey and alpha": (Image.new("LA", (32, 32), (100, 128)), {}, (100, 100, 100, 128)),
    "grey with one colour transparent": (
        Image.new("L", (32, 32), 100),
        {"transparency": 100},
        (100, 100, 100, 0),
    ),
    "palette": (Image.new("RGB", (32, 32), (200, 30, 60)).quantize(8), {}, (200, 30, 60, 255)),
    "palette with one colour transparent": (
        Image.new("RGB", (32, 32), (200, 30, 60)).quantize(8),
        {"transparency": 0},
        (200, 30, 60, 0),
    ),
    "palette with alpha": (
        Image.new("RGB", (32, 32), (200, 30, 60)).quantize(8),
        {"transparency": bytes([128] * 8)},
        (200, 30, 60, 128),
    ),
    "colours": (Image.new("RGB", (32, 32), (200, 30, 60)), {}, (200, 30, 60, 255)),
    "colours with one transparent": (
        Image.new("RGB", (32, 32), (200, 30, 60)),
        {"transparency": (200, 30, 60)},
        (200, 30, 60, 0),
    ),
    "colours and alpha": (Image.new("RGBA", (32, 32), (200, 30, 60, 128)), {}, (200, 30, 60, 128)),
    "CMYK": (
        Image.new("RGB", (32, 32), (200, 30, 60)).convert("CMYK"),
        {"format": "JPEG"},
        (200, 30, 60, 255),
    ),
    "grey as JPEG": (Image.new("L", (32, 32), 100), {"format": "JPEG"}, (100, 100, 100, 255)),
}


@pytest.mark.parametrize(("picture", "options", "expected"), MODES.values(), ids=MODES)
def test_picture_looks_the_same_in_every_pixel_mode(picture, options, expected):
    """IM-03: including its transparency."""
    buffer = io.BytesIO()
    picture.save(buffer, **{"format": "PNG", **options})
    result = read_webp(encode_picture(buffer.getvalue()).content).convert("RGBA")
    *colour, alpha = result.getpixel((16, 16))
    assert alpha == expected[3]
    if alpha:  # a fully transparent pixel may have any colour
        assert are_similar(tuple(colour), expected[:3])


# Rejected files


def _fits() -> bytes:
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8"]
    cards += ["NAXIS   =                    2", "NAXIS1  =                    3"]
    cards += ["NAXIS2  =                    2", "END"]
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)


def _psd() -> bytes:
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 2, 3, 8, 3)
    return head + bytes(12) + b"\0\0" + bytes(18)


def _zip(content: bytes = CANARY) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("page.html", content)
    return buffer.getvalue()


#: Pictures in other formats, by Pillow's names.
OTHER_FORMATS = {
    **{
        kind: encoded(gradient(), kind)
        for kind in ("GIF", "TIFF", "BMP", "ICO", "EPS", "PPM", "TGA", "JPEG2000", "AVIF", "DDS")
    },
    "PSD": _psd(),
    "FITS": _fits(),
}
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"><script>alert(1)</script></svg>'
)
HTML = b"<!DOCTYPE html><script>alert(1)</script>"
#: Files that are no pictures.
NOT_PICTURES = {
    "empty": b"",
    "one byte": b"\x89",
    "text": b"hello",
    "SVG": SVG,
    "SVG with a declaration": b'<?xml version="1.0"?>' + SVG,
    "HTML": HTML,
    "PDF": encoded(gradient(), "PDF"),
    "zip": _zip(),
    "PNG and garbage": PNG_SIGNATURE + b"garbage" * 100,
    "PNG of no chunks": png(),
    "PNG and HTML": PNG_SIGNATURE + HTML,
    "PNG of a header alone": png(header(3, 2)),
    "PNG of pixels that are none": png(header(3, 2), chunk(b"IDAT", b"garbage")),
    "PNG of too few pixels": png(header(3, 2), chunk(b"IDAT", zlib.compress(b"\0"))),
    "PNG without width": png(header(0, 2), chunk(b"IDAT", zlib.compress(bytes(4)))),
    "PNG without height": png(header(3, 0), chunk(b"IDAT", zlib.compress(bytes(4)))),
    "PNG with a text too long": png(
        header(3, 2),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8_000_000))),
        chunk(b"IDAT", zlib.compress(bytes(4))),
    ),
    "JPEG and garbage": b"\xff\xd8\xff\xe0" + b"garbage" * 100,
    "JPEG and HTML": b"\xff\xd8\xff" + HTML,
    "JPEG and its end": b"\xff\xd8\xff\xd9",
    "WebP and garbage": b"RIFF\x64\0\0\0WEBPVP8 " + b"garbage" * 100,
    "WebP of no chunks": b"RIFF\x04\0\0\0WEBP",
    "another RIFF": b"RIFF\x04\0\0\0WAVE",
    "JPEG within a zip": zipfile.ZIP_STORED.to_bytes(1, "little") + encoded(gradient(), "JPEG"),
}


@pytest.mark.parametrize(("kind", "content"), OTHER_FORMATS.items(), ids=OTHER_FORMATS)
def test_picture_in_another_format_is_rejected(kind, content, decoded_formats):
    """IM-01: by its content; Pillow could read each of them, but must not (CVE-2026-40192)."""
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == kind
    decoded_formats.clear()
    with pytest.raises(UnreadablePicture):
        encode_picture(content)
    assert decoded_formats == []


@pytest.mark.parametrize("content", NOT_PICTURES.values(), ids=NOT_PICTURES)
def test_other_file_is_rejected(content):
    """IM-01: with any beginning."""
    with pytest.raises(UnreadablePicture) as caught:
        encode_picture(content)
    rule = "must be a PNG, JPEG or WebP picture of at most 25 million pixels"
    assert [violation.rule for violation in caught.value.violations] == [rule]


COMPLETE = {
    "PNG": encoded(gradient((24, 16)), "PNG"),
    "palette PNG": encoded(gradient((24, 16)).quantize(16), "PNG"),
    "JPEG": encoded(gradient((24, 16)), "JPEG"),
    "progressive JPEG": encoded(gradient((24, 16)), "JPEG", progressive=True),
    "WebP": encoded(gradient((24, 16)), "WEBP"),
    "lossless WebP": encoded(gradient((24, 16)), "WEBP", lossless=True),
    "WebP with alpha": encoded(Image.new("RGBA", (24, 16), (200, 30, 60, 128)), "WEBP"),
}


@pytest.mark.parametrize("complete", COMPLETE.values(), ids=COMPLETE)
def test_truncated_picture_is_rejected_unless_all_pixels_remain(complete):
    """IM-04: at each length; after the last pixel of a PNG come checksums and its end."""
    tag = encode_picture(complete).tag
    trailer_size = 4 + 4 + 12 + 1  # checksum of the pixels, that of their chunk, and the end chunk
    for length in range(len(complete)):
        try:
            result = encode_picture(complete[:length])
        except UnreadablePicture:
            continue
        assert complete.startswith(PNG_SIGNATURE), length
        assert length >= len(complete) - trailer_size
        assert result.tag == tag


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_large_truncated_picture_is_rejected(kind):
    """IM-04: even if it is decoded at an eighth, for which half of the file would be enough."""
    complete = encoded(gradient((4096, 1024)), kind)
    encode_picture(complete)
    for part in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(UnreadablePicture):
            encode_picture(complete[: int(len(complete) * part)])


# Number of pixels


def test_decompression_bomb_is_rejected_by_its_header(decoded_formats):
    """IM-02: 17 kB with 144 million pixels, at which Pillow would only warn; nothing is decoded."""
    bomb = encoded(empty((12_000, 12_000)), optimize=True)
    assert len(bomb) < 20_000
    for content in (bomb, encoded(empty((20_000, 20_000)))):
        with pytest.raises(UnreadablePicture):
            encode_picture(content)
    assert decoded_formats == []


@pytest.mark.parametrize(
    ("size", "is_accepted"),
    [
        ((5000, 5000), True),
        ((5001, 5000), False),
        ((5000, 5001), False),
        ((4901, 5101), False),  # 25,000,001
        ((10_000, 2500), True),
        ((2500, 10_000), True),
        ((10_000, 1), True),
        ((10_001, 1), False),
        ((1, 10_001), False),
    ],
    ids=str,
)
def test_picture_may_have_25_million_pixels(size, is_accepted, decoded_formats):
    """IM-02: and no side is longer than 10,000; larger pictures are not decoded."""
    content = encoded(empty(size))
    if is_accepted:
        encode_picture(content)
        assert decoded_formats
    else:
        with pytest.raises(UnreadablePicture):
            encode_picture(content)
        assert decoded_formats == []


def _jpeg_claiming(width: int, height: int) -> bytes:
    content = bytearray(encoded(gradient((24, 16)), "JPEG"))
    frame = content.index(b"\xff\xc0")  # SOF0, then a length, a precision, height and width
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def _webp_claiming(width: int, height: int) -> bytes:
    frames = [Image.new("RGB", (24, 16), colour) for colour in ("red", "green")]
    content = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    canvas = content.index(b"VP8X") + 12
    content[canvas : canvas + 6] = b"".join(
        (side - 1).to_bytes(3, "little") for side in (width, height)
    )
    return bytes(content)


@pytest.mark.parametrize("claiming", [_jpeg_claiming, _webp_claiming])
@pytest.mark.parametrize("size", [(5001, 5000), (10_001, 1), (16_383, 16_383)], ids=str)
def test_claimed_size_is_checked_before_decoding(claiming, size, decoded_formats):
    """IM-02: in the other formats too; a frame of a few pixels can claim a large canvas."""
    with pytest.raises(UnreadablePicture):
        encode_picture(claiming(*size))
    assert decoded_formats == []


# Frames

FRAMES = [Image.new("RGB", (24, 16), colour) for colour in ("red", "lime", "blue")]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_only_the_first_frame_is_used(kind, monkeypatch):
    """IM-04: other frames are not even sought."""
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(
        FRAMES[0], kind, save_all=True, append_images=FRAMES[1:], duration=50, **options
    )
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 3
    frames = []
    for reader in (PngImagePlugin.PngImageFile, WebPImagePlugin.WebPImageFile):
        monkeypatch.setattr(reader, "seek", lambda _, frame: frames.append(frame))
    result = encode_picture(content)
    assert frames == []
    assert result == encode_picture(encoded(FRAMES[0], kind, **options))
    assert {name for name, _ in chunks_of(result.content)} == {"VP8 "}


def test_claimed_number_of_frames_costs_no_time():
    """IM-04: 2^31 - 1 frames are not counted."""
    still = encoded(FRAMES[0])
    animated = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 24, 16, 0, 0, 1, 20, 0, 0))
    position = still.index(b"IDAT") - 4
    content = still[:position] + animated + frame + still[position:]
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 2**31 - 1
    assert encode_picture(content) == encode_picture(still)


def test_first_view_of_an_mpo_is_used():
    """IM-01, IM-04: a phone's JPEG can be an MPO, which Pillow reads without being allowed to."""
    content = encoded(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:])
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "MPO"
    picture = read_webp(encode_picture(content).content)
    assert are_similar(mean_colour(picture, (4, 4, 20, 12)), (254, 0, 0))


# Metadata


def _exif_with_place() -> bytes:
    """Return EXIF with a place, a time, a camera and a comment."""
    exif = Image.Exif()
    exif[DESCRIPTION] = CANARY.decode()
    exif.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.5), 27: CANARY})
    exif.get_ifd(EXIF).update({0x9003: "2026:04:05 10:00:00", 0x9286: CANARY})
    return exif.tobytes()


def _with_metadata(kind: str) -> bytes:
    """Return a picture with metadata in each place of its format."""
    options: dict[str, object] = {
        "exif": _exif_with_place(),
        "xmp": b"<x:xmpmeta>" + CANARY + b"</x:xmpmeta>",
        "icc_profile": CANARY * 8,
    }
    if kind == "JPEG":
        options["comment"] = CANARY
    if kind == "PNG":
        png_info = PngImagePlugin.PngInfo()
        png_info.add_text("Comment", CANARY.decode())
        png_info.add_text("Author", CANARY.decode(), zip=True)
        png_info.add_itxt("XML:com.adobe.xmp", CANARY.decode())
        png_info.add(b"alCe", CANARY)
        options = {"exif": _exif_with_place(), "icc_profile": CANARY * 8, "pnginfo": png_info}
    return encoded(gradient(), kind, **options)


@pytest.mark.parametrize("kind", FORMATS)
def test_all_metadata_is_dropped(kind):
    """IM-03: the result has only the chunk of the pixels, as without metadata."""
    content = _with_metadata(kind)
    assert content.count(CANARY) >= 3
    result = encode_picture(content)
    assert CANARY not in result.content
    assert {name for name, _ in chunks_of(result.content)} == {"VP8 "}
    assert result == encode_picture(encoded(gradient(), kind))
    with Image.open(io.BytesIO(result.content)) as image:
        assert not image.getexif()
        assert not {"exif", "xmp", "icc_profile", "comment"} & image.info.keys()


def test_metadata_is_dropped_from_transparent_pictures():
    """IM-03: its header allows pixels and their transparency only."""
    content = encoded(gradient(mode="RGBA"), "WEBP", exif=_exif_with_place(), xmp=CANARY)
    clear = gradient(mode="RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    content = encoded(clear, "WEBP", exif=_exif_with_place(), xmp=CANARY, icc_profile=CANARY)
    result = encode_picture(content)
    assert {name for name, _ in chunks_of(result.content)} == {"VP8X", "ALPH", "VP8 "}
    assert CANARY not in result.content


TRAILERS = {
    "zip": _zip(),
    "HTML": b"<script>" + CANARY + b"</script>",
    "PDF": b"%PDF-1.7\n" + CANARY,
    "another picture": encoded(empty((3, 2)), pnginfo=None) + CANARY,
    "PHP": b"<?php /* " + CANARY + b" */ ?>",
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("trailer", TRAILERS.values(), ids=TRAILERS)
def test_trailing_data_is_dropped(kind, trailer):
    """IM-03: data after the picture is dropped."""
    complete = encoded(gradient(), kind)
    result = encode_picture(complete + trailer)
    assert result == encode_picture(complete)
    assert CANARY not in result.content
    assert not zipfile.is_zipfile(io.BytesIO(result.content))


def test_embedded_page_is_dropped():
    """IM-03: a comment that a browser could take for a page is dropped."""
    result = encode_picture(encoded(gradient(), "JPEG", comment=HTML + CANARY))
    assert b"script" not in result.content
    assert CANARY not in result.content


# Orientation

RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (250, 250, 250)
#: The colours at upper left, upper right, lower left and lower right by TIFF 6.0's Orientation; the
#: file has red and green above blue and white.
EXPECTED_COLOURS = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
    0: (RED, GREEN, BLUE, WHITE),
    9: (RED, GREEN, BLUE, WHITE),
    65535: (RED, GREEN, BLUE, WHITE),
}


def _four_colours(size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size)
    half = size[0] // 2, size[1] // 2
    for number, colour in enumerate(EXPECTED_COLOURS[1]):
        picture.paste(Image.new("RGB", half, colour), (number % 2 * half[0], number // 2 * half[1]))
    return picture


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("number", EXPECTED_COLOURS)
def test_orientation_is_applied(kind, number):
    """IM-03: since the metadata with the orientation is dropped."""
    result = encode_picture(
        encoded(_four_colours((64, 32)), kind, exif=exif_with_orientation(number))
    )
    picture = read_webp(result.content)
    assert picture.size == ((32, 64) if number in {5, 6, 7, 8} else (64, 32))
    width, height = picture.size
    for position, colour in enumerate(EXPECTED_COLOURS[number]):
        x0, y0 = position % 2 * width // 2, position // 2 * height // 2
        box = (x0 + 4, y0 + 4, x0 + width // 2 - 4, y0 + height // 2 - 4)
        assert are_similar(mean_colour(picture, box), colour), position


def test_large_photograph_is_turned_and_scaled_down():
    """IM-03: it is decoded at a fraction of its size, and still turned."""
    content = encoded(_four_colours((4096, 2048)), "JPEG", exif=exif_with_orientation(6))
    picture = read_webp(encode_picture(content).content)
    assert picture.size == (256, 512)
    assert are_similar(mean_colour(picture, (10, 10, 100, 200)), BLUE)


def _malformed_exif() -> dict[str, bytes]:
    """Return EXIF of a turned camera with a malformed tag of another type.

    Pillow reads such a value, and cannot write it back.
    """
    exif_by_name = {}
    for name, (kind, count, value) in {
        "a fraction for a number": (TiffTags.RATIONAL, 1, struct.pack("<I", 8)),
        "a text for a number": (TiffTags.ASCII, 4, b"abc\0"),
        "a number for a text": (TiffTags.FLOAT, 1, struct.pack("<f", 1.5)),
    }.items():
        tag = DESCRIPTION if "for a text" in name else 0x0100  # ImageWidth, which is a number
        entries = [
            struct.pack("<HHI4s", tag, kind, count, value),
            struct.pack("<HHI4s", ORIENTATION, TiffTags.SHORT, 1, struct.pack("<HH", 6, 0)),
        ]
        directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
        exif_by_name[name] = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory
    return exif_by_name


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("exif_bytes", _malformed_exif().values(), ids=_malformed_exif())
def test_malformed_tag_does_not_prevent_turning(kind, exif_bytes):
    """IM-03, IM-04: all metadata is dropped anyway."""
    result = encode_picture(encoded(_four_colours((64, 32)), kind, exif=exif_bytes))
    picture = read_webp(result.content)
    assert picture.size == (32, 64)
    assert are_similar(mean_colour(picture, (4, 4, 12, 28)), BLUE)


@pytest.mark.filterwarnings("ignore::UserWarning")  # as for the corrupted pictures below
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "exif_bytes",
    [
        b"",
        b"II",
        b"II*\0",
        b"MM\0*\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\x09",
        b"garbage!",
    ],
    ids=repr,
)
def test_unreadable_metadata_is_ignored(kind, exif_bytes):
    """IM-03, IM-04, OP-05: truncated or malformed metadata; the pixels are valid."""
    content = encoded(gradient(), kind, exif=b"Exif\0\0" + exif_bytes)
    assert encode_picture(content) == encode_picture(encoded(gradient(), kind))


# Corrupted pictures

SEEDS = {
    **COMPLETE,
    **{f"{kind} with metadata": _with_metadata(kind) for kind in FORMATS},
    **{
        f"{kind} on its side": encoded(
            gradient((24, 16)), kind, exif=exif_with_orientation(6, description="x")
        )
        for kind in FORMATS
    },
    "animated PNG": encoded(FRAMES[0], save_all=True, append_images=FRAMES[1:]),
    "animated WebP": encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
    "MPO": encoded(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]),
}


def _fix_checksums(content: bytes) -> bytes:
    """Return a PNG with right checksums, so that the corrupted part is read."""
    result, position = bytearray(PNG_SIGNATURE), len(PNG_SIGNATURE)
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        if position + 12 + length > len(content):
            break
        result += chunk(
            content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        )
        position += 12 + length
    return bytes(result + content[position:])


# Pillow's warnings are covered by tests/http/test_pictures.py.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("original", SEEDS.values(), ids=SEEDS)
def test_corrupted_picture_is_rejected_or_read(original):
    """IM-01, OP-05: 300 ways to corrupt each; an exception of another kind would be a 500."""
    generator = random.Random(zlib.crc32(original))  # noqa: S311 # reproducible, and no secret
    for _ in range(300):
        corrupted = bytearray(original)
        for _ in range(generator.choice((1, 1, 2, 5))):
            corrupted[generator.randrange(len(corrupted))] = generator.choice(
                (0, 1, 6, 255, generator.randrange(256))
            )
        content = (
            _fix_checksums(corrupted) if original.startswith(PNG_SIGNATURE) else bytes(corrupted)
        )
        try:
            result = encode_picture(content)
        except UnreadablePicture:
            continue
        assert max(read_webp(result.content).size) <= 512


def test_pillow_version_has_no_jpeg_buffer_overflow():
    """IM-06: 13.0 or later, both installed and pinned."""
    pinned = re.findall(
        r"^pillow==([0-9]+)\.", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE
    )
    assert len(pinned) == 1
    for major in (*pinned, PIL.__version__.split(".")[0]):
        assert int(major) >= 13
