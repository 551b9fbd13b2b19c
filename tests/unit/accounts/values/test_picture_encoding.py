"""From whatever bytes were uploaded to a picture that holds nothing but its pixels."""

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
from oneself.conformance.pictures import chunks_of, empty, encoded, gradient, read_webp

ROOT = Path(__file__).parents[4]
KINDS = ("PNG", "JPEG", "WEBP")
PNG_BEGINS = b"\x89PNG\r\n\x1a\n"
ORIENTATION, DESCRIPTION, GPS, EXIF = 0x0112, 0x010E, 0x8825, 0x8769
#: What is looked for in the bytes of a result, and stood in each place of an upload.
CANARY = b"canary-of-alice"


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its check sum (ISO/IEC 15948, section 5.3)."""
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(*chunks: bytes) -> bytes:
    return PNG_BEGINS + b"".join(chunks) + chunk(b"IEND", b"")


def header(width: int, height: int) -> bytes:
    """The header of a PNG with one bit of grey a pixel."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))


def oriented(number: int, **more: object) -> bytes:
    """The EXIF of a camera that was held somehow."""
    noted = Image.Exif()
    noted[ORIENTATION] = number
    for name, value in more.items():
        noted[{"description": DESCRIPTION}[name]] = value
    return noted.tobytes()


def mean_colour(picture: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, ...]:
    """What a part of a picture looks like; WebP is not exact to a pixel."""
    return picture.convert("RGB").crop(box).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))


def alike(one: tuple[int, ...], other: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The kind of each picture that Pillow was made to decode; it goes on decoding."""
    seen = []
    for reader in (ImageFile.ImageFile, WebPImagePlugin.WebPImageFile):
        load = reader.load

        def noted(self, load=load):
            seen.append(self.format)
            return load(self)

        monkeypatch.setattr(reader, "load", noted)
    return seen


# What is taken


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_the_three_kinds_becomes_a_webp(kind, decoded):
    """IM-01, IM-03: of the same size and look, with the digest of its bytes for a tag."""
    result = encode_picture(encoded(gradient(), kind))
    assert kind in decoded
    assert MEDIA_TYPE == "image/webp"
    assert result.tag == hashlib.sha256(result.content).hexdigest()
    found = read_webp(result.content)
    assert found.size == (48, 32)
    for box in ((0, 0, 8, 8), (40, 0, 48, 8), (20, 12, 28, 20), (0, 24, 8, 32)):
        assert alike(mean_colour(found, box), mean_colour(gradient(), box))


@pytest.mark.parametrize(
    ("size", "becomes"),
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
def test_a_picture_is_made_smaller_and_never_larger(size, becomes):
    """IM-03: at most 512 on the longest side, in its own proportions."""
    assert read_webp(encode_picture(encoded(empty(size))).content).size == becomes


def test_the_same_upload_has_the_same_tag_and_another_has_another():
    """HT-17: a tag is of the bytes, and nothing such as the time goes into them."""
    one, again, other = (
        encode_picture(encoded(picture)) for picture in (gradient(), gradient(), empty((48, 32)))
    )
    assert one == again
    assert one.tag != other.tag


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
def test_a_picture_looks_the_same_however_its_pixels_were_kept(picture, options, expected):
    """IM-03: with its transparency, if it has any."""
    uploaded = io.BytesIO()
    picture.save(uploaded, **{"format": "PNG", **options})
    found = read_webp(encode_picture(uploaded.getvalue()).content).convert("RGBA")
    *colour, alpha = found.getpixel((16, 16))
    assert alpha == expected[3]
    if alpha:  # else there is nothing to see, whatever the colour
        assert alike(tuple(colour), expected[:3])


# What is not


def _fits() -> bytes:
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8"]
    cards += ["NAXIS   =                    2", "NAXIS1  =                    3"]
    cards += ["NAXIS2  =                    2", "END"]
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)


def _psd() -> bytes:
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 2, 3, 8, 3)
    return head + bytes(12) + b"\0\0" + bytes(18)


def _zip(content: bytes = CANARY) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("page.html", content)
    return written.getvalue()


#: Pictures of other kinds, by the name that Pillow has for each.
OTHER_KINDS = {
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
#: What nobody takes for a picture.
NO_PICTURES = {
    "empty": b"",
    "one byte": b"\x89",
    "text": b"hello",
    "SVG": SVG,
    "SVG with a declaration": b'<?xml version="1.0"?>' + SVG,
    "HTML": HTML,
    "PDF": encoded(gradient(), "PDF"),
    "zip": _zip(),
    "PNG and garbage": PNG_BEGINS + b"garbage" * 100,
    "PNG of no chunks": png(),
    "PNG and HTML": PNG_BEGINS + HTML,
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


@pytest.mark.parametrize(("kind", "uploaded"), OTHER_KINDS.items(), ids=OTHER_KINDS)
def test_a_picture_of_another_kind_is_refused(kind, uploaded, decoded):
    """IM-01: by its content; Pillow can read each of them, and is not let (CVE-2026-40192)."""
    with Image.open(io.BytesIO(uploaded)) as opened:
        assert opened.format == kind
    decoded.clear()
    with pytest.raises(UnreadablePicture):
        encode_picture(uploaded)
    assert decoded == []


@pytest.mark.parametrize("uploaded", NO_PICTURES.values(), ids=NO_PICTURES)
def test_what_is_no_picture_is_refused(uploaded):
    """IM-01: whatever it begins with."""
    with pytest.raises(UnreadablePicture) as refused:
        encode_picture(uploaded)
    rule = "must be a PNG, JPEG or WebP picture of at most 25 million pixels"
    assert [each.rule for each in refused.value.violations] == [rule]


SHORTENED = {
    "PNG": encoded(gradient((24, 16)), "PNG"),
    "palette PNG": encoded(gradient((24, 16)).quantize(16), "PNG"),
    "JPEG": encoded(gradient((24, 16)), "JPEG"),
    "progressive JPEG": encoded(gradient((24, 16)), "JPEG", progressive=True),
    "WebP": encoded(gradient((24, 16)), "WEBP"),
    "lossless WebP": encoded(gradient((24, 16)), "WEBP", lossless=True),
    "WebP with alpha": encoded(Image.new("RGBA", (24, 16), (200, 30, 60, 128)), "WEBP"),
}


@pytest.mark.parametrize("whole", SHORTENED.values(), ids=SHORTENED)
def test_a_picture_that_is_cut_short_is_refused_or_has_lost_no_pixel(whole):
    """IM-04: at each length; after the last pixel of a PNG come check sums and its end."""
    tag = encode_picture(whole).tag
    ends = 4 + 4 + 12 + 1  # of the compressed pixels, of their chunk, and the chunk that ends it
    for length in range(len(whole)):
        try:
            result = encode_picture(whole[:length])
        except UnreadablePicture:
            continue
        assert whole.startswith(PNG_BEGINS), length
        assert length >= len(whole) - ends
        assert result.tag == tag


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_large_picture_that_is_cut_short_is_refused(kind):
    """IM-04: also where it is decoded at an eighth, and half of it would do for that."""
    whole = encoded(gradient((4096, 1024)), kind)
    encode_picture(whole)
    for part in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(UnreadablePicture):
            encode_picture(whole[: int(len(whole) * part)])


# How many pixels


def test_a_bomb_is_refused_by_its_header(decoded):
    """IM-02: 17 kB with 144 million pixels, of which Pillow would only warn; nothing is decoded."""
    bomb = encoded(empty((12_000, 12_000)), optimize=True)
    assert len(bomb) < 20_000
    for uploaded in (bomb, encoded(empty((20_000, 20_000)))):
        with pytest.raises(UnreadablePicture):
            encode_picture(uploaded)
    assert decoded == []


@pytest.mark.parametrize(
    ("size", "taken"),
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
def test_the_most_pixels_are_25_million(size, taken, decoded):
    """IM-02: and no side is longer than 10,000; whatever is more is not decoded."""
    uploaded = encoded(empty(size))
    if taken:
        encode_picture(uploaded)
        assert decoded
    else:
        with pytest.raises(UnreadablePicture):
            encode_picture(uploaded)
        assert decoded == []


def _claimed_jpeg(width: int, height: int) -> bytes:
    whole = bytearray(encoded(gradient((24, 16)), "JPEG"))
    frame = whole.index(b"\xff\xc0")  # SOF0, then a length, a precision, height and width
    whole[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(whole)


def _claimed_webp(width: int, height: int) -> bytes:
    frames = [Image.new("RGB", (24, 16), colour) for colour in ("red", "green")]
    whole = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    canvas = whole.index(b"VP8X") + 12
    whole[canvas : canvas + 6] = b"".join(
        (side - 1).to_bytes(3, "little") for side in (width, height)
    )
    return bytes(whole)


@pytest.mark.parametrize("claimed", [_claimed_jpeg, _claimed_webp])
@pytest.mark.parametrize("size", [(5001, 5000), (10_001, 1), (16_383, 16_383)], ids=str)
def test_what_a_header_claims_is_believed_first(claimed, size, decoded):
    """IM-02: in the other two kinds as well; a frame of a few pixels can claim a large canvas."""
    with pytest.raises(UnreadablePicture):
        encode_picture(claimed(*size))
    assert decoded == []


# Frames

FRAMES = [Image.new("RGB", (24, 16), colour) for colour in ("red", "lime", "blue")]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_several_frames_only_the_first_is_taken(kind, monkeypatch):
    """IM-04: none is looked for, and the result stands still."""
    options = {"lossless": True} if kind == "WEBP" else {}
    uploaded = encoded(
        FRAMES[0], kind, save_all=True, append_images=FRAMES[1:], duration=50, **options
    )
    with Image.open(io.BytesIO(uploaded)) as opened:
        assert opened.n_frames == 3
    sought = []
    for reader in (PngImagePlugin.PngImageFile, WebPImagePlugin.WebPImageFile):
        monkeypatch.setattr(reader, "seek", lambda _, frame: sought.append(frame))
    result = encode_picture(uploaded)
    assert sought == []
    assert result == encode_picture(encoded(FRAMES[0], kind, **options))
    assert {name for name, _ in chunks_of(result.content)} == {"VP8 "}


def test_a_picture_that_claims_very_many_frames_is_as_quick_as_one():
    """IM-04: 2^31 - 1 of them, which nobody counts."""
    still = encoded(FRAMES[0])
    animated = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 24, 16, 0, 0, 1, 20, 0, 0))
    place = still.index(b"IDAT") - 4
    uploaded = still[:place] + animated + frame + still[place:]
    with Image.open(io.BytesIO(uploaded)) as opened:
        assert opened.n_frames == 2**31 - 1
    assert encode_picture(uploaded) == encode_picture(still)


def test_of_two_views_of_one_scene_the_first_is_taken():
    """IM-01, IM-04: a phone's JPEG can be an MPO, which Pillow reads even where it is not asked."""
    uploaded = encoded(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:])
    with Image.open(io.BytesIO(uploaded)) as opened:
        assert opened.format == "MPO"
    found = read_webp(encode_picture(uploaded).content)
    assert alike(mean_colour(found, (4, 4, 20, 12)), (254, 0, 0))


# What else was in the file


def _noted() -> bytes:
    """EXIF with a place, a time, a camera and a comment."""
    noted = Image.Exif()
    noted[DESCRIPTION] = CANARY.decode()
    noted.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.5), 27: CANARY})
    noted.get_ifd(EXIF).update({0x9003: "2026:04:05 10:00:00", 0x9286: CANARY})
    return noted.tobytes()


def _with_notes(kind: str) -> bytes:
    """A picture with something in each place that its kind has for it."""
    options: dict[str, object] = {
        "exif": _noted(),
        "xmp": b"<x:xmpmeta>" + CANARY + b"</x:xmpmeta>",
        "icc_profile": CANARY * 8,
    }
    if kind == "JPEG":
        options["comment"] = CANARY
    if kind == "PNG":
        noted = PngImagePlugin.PngInfo()
        noted.add_text("Comment", CANARY.decode())
        noted.add_text("Author", CANARY.decode(), zip=True)
        noted.add_itxt("XML:com.adobe.xmp", CANARY.decode())
        noted.add(b"alCe", CANARY)
        options = {"exif": _noted(), "icc_profile": CANARY * 8, "pnginfo": noted}
    return encoded(gradient(), kind, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_place_comments_profiles_and_whatever_else_was_noted_are_gone(kind):
    """IM-03: the chunk of the pixels is all there is, and it is the one of a picture without."""
    uploaded = _with_notes(kind)
    assert uploaded.count(CANARY) >= 3
    result = encode_picture(uploaded)
    assert CANARY not in result.content
    assert {name for name, _ in chunks_of(result.content)} == {"VP8 "}
    assert result == encode_picture(encoded(gradient(), kind))
    with Image.open(io.BytesIO(result.content)) as opened:
        assert not opened.getexif()
        assert not {"exif", "xmp", "icc_profile", "comment"} & opened.info.keys()


def test_a_picture_with_transparency_has_no_room_for_notes_either():
    """IM-03: its header says what comes, and that is pixels and their transparency."""
    uploaded = encoded(gradient(mode="RGBA"), "WEBP", exif=_noted(), xmp=CANARY)
    clear = gradient(mode="RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    uploaded = encoded(clear, "WEBP", exif=_noted(), xmp=CANARY, icc_profile=CANARY)
    result = encode_picture(uploaded)
    assert {name for name, _ in chunks_of(result.content)} == {"VP8X", "ALPH", "VP8 "}
    assert CANARY not in result.content


TAILS = {
    "zip": _zip(),
    "HTML": b"<script>" + CANARY + b"</script>",
    "PDF": b"%PDF-1.7\n" + CANARY,
    "another picture": encoded(empty((3, 2)), pnginfo=None) + CANARY,
    "PHP": b"<?php /* " + CANARY + b" */ ?>",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_a_file_that_is_something_else_from_behind_is_only_a_picture_afterwards(kind, tail):
    """IM-03: what followed the picture is gone."""
    whole = encoded(gradient(), kind)
    result = encode_picture(whole + tail)
    assert result == encode_picture(whole)
    assert CANARY not in result.content
    assert not zipfile.is_zipfile(io.BytesIO(result.content))


def test_a_picture_that_is_a_page_from_the_front_is_only_a_picture_afterwards():
    """IM-03: a comment that a browser could take for a page."""
    result = encode_picture(encoded(gradient(), "JPEG", comment=HTML + CANARY))
    assert b"script" not in result.content
    assert CANARY not in result.content


# How the camera was held

RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (250, 250, 250)
#: Which colours are upper left, upper right, lower left and lower right, by TIFF 6.0's Orientation:
#: stored are red and green above blue and white.
UPRIGHT = {
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
    for number, colour in enumerate(UPRIGHT[1]):
        picture.paste(Image.new("RGB", half, colour), (number % 2 * half[0], number // 2 * half[1]))
    return picture


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", UPRIGHT)
def test_a_picture_is_turned_the_way_the_camera_was_held(kind, number):
    """IM-03: since the note that said so is gone."""
    result = encode_picture(encoded(_four_colours((64, 32)), kind, exif=oriented(number)))
    found = read_webp(result.content)
    assert found.size == ((32, 64) if number in {5, 6, 7, 8} else (64, 32))
    width, height = found.size
    for place, colour in enumerate(UPRIGHT[number]):
        left, upper = place % 2 * width // 2, place // 2 * height // 2
        box = (left + 4, upper + 4, left + width // 2 - 4, upper + height // 2 - 4)
        assert alike(mean_colour(found, box), colour), place


def test_a_large_photograph_is_turned_and_made_smaller():
    """IM-03: it is decoded at a fraction, and turned nevertheless."""
    uploaded = encoded(_four_colours((4096, 2048)), "JPEG", exif=oriented(6))
    found = read_webp(encode_picture(uploaded).content)
    assert found.size == (256, 512)
    assert alike(mean_colour(found, (10, 10, 100, 200)), BLUE)


def _odd_notes() -> dict[str, bytes]:
    """EXIF of a camera on its side with a tag beside it that has a value of another type.

    Pillow reads such a value, and cannot write it back.
    """
    found = {}
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
        found[name] = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noted", _odd_notes().values(), ids=_odd_notes())
def test_a_note_that_makes_no_sense_does_not_keep_a_picture_from_being_turned(kind, noted):
    """IM-03, IM-04: all the notes go anyway, so what they are is nobody's business."""
    result = encode_picture(encoded(_four_colours((64, 32)), kind, exif=noted))
    found = read_webp(result.content)
    assert found.size == (32, 64)
    assert alike(mean_colour(found, (4, 4, 12, 28)), BLUE)


@pytest.mark.filterwarnings("ignore::UserWarning")  # as at the breaking of pictures below
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "noted",
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
def test_notes_that_cannot_be_read_leave_a_picture_as_it_is(kind, noted):
    """IM-03, IM-04, OP-05: cut short at any place, or no notes at all; the pixels are good."""
    uploaded = encoded(gradient(), kind, exif=b"Exif\0\0" + noted)
    assert encode_picture(uploaded) == encode_picture(encoded(gradient(), kind))


# Whatever else can be sent

SEEDS = {
    **SHORTENED,
    **{f"{kind} with notes": _with_notes(kind) for kind in KINDS},
    **{
        f"{kind} on its side": encoded(gradient((24, 16)), kind, exif=oriented(6, description="x"))
        for kind in KINDS
    },
    "animated PNG": encoded(FRAMES[0], save_all=True, append_images=FRAMES[1:]),
    "animated WebP": encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
    "MPO": encoded(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]),
}


def _checked_anew(uploaded: bytes) -> bytes:
    """A PNG with right check sums, so that what was changed is read."""
    found, place = bytearray(PNG_BEGINS), len(PNG_BEGINS)
    while place + 12 <= len(uploaded):
        (length,) = struct.unpack_from(">I", uploaded, place)
        if place + 12 + length > len(uploaded):
            break
        found += chunk(uploaded[place + 4 : place + 8], uploaded[place + 8 : place + 8 + length])
        place += 12 + length
    return bytes(found + uploaded[place:])


# That Pillow warns of some is for the log, see tests/http/test_pictures.py.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("whole", SEEDS.values(), ids=SEEDS)
def test_a_broken_picture_is_refused_or_read_and_nothing_else(whole):
    """IM-01, OP-05: 300 ways to break each; an exception of another kind would be a 500."""
    chance = random.Random(zlib.crc32(whole))  # noqa: S311 # the same every time, and no secret
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 5))):
            broken[chance.randrange(len(broken))] = chance.choice(
                (0, 1, 6, 255, chance.randrange(256))
            )
        uploaded = _checked_anew(broken) if whole.startswith(PNG_BEGINS) else bytes(broken)
        try:
            result = encode_picture(uploaded)
        except UnreadablePicture:
            continue
        assert max(read_webp(result.content).size) <= 512


def test_pillow_is_one_in_which_a_jpeg_cannot_write_outside_of_its_buffer():
    """IM-06: 13.0 or later, in what is installed and in what is pinned."""
    pinned = re.findall(
        r"^pillow==([0-9]+)\.", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE
    )
    assert len(pinned) == 1
    for major in (*pinned, PIL.__version__.split(".")[0]):
        assert int(major) >= 13
