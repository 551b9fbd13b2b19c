"""Pictures written without a library, read by one."""

import io

import pytest
from PIL import Image

from oneself_conformance.cases.pictures import make_picture, read_webp_size


@pytest.mark.parametrize(
    ("kind", "size"),
    [("png", (3, 2)), ("png", (601, 500)), ("jpeg", (2048, 1024)), ("webp", (1024, 512)),
     ("gif", (3, 2)), ("gif", (9, 9))],
)  # fmt: skip
def test_picture_can_be_decoded(kind: str, size: tuple[int, int]):
    with Image.open(io.BytesIO(make_picture(kind, size))) as image:
        image.load()
        assert (image.format or "").lower() == kind
        assert image.size == size


@pytest.mark.parametrize("options", [{}, {"lossless": True}])
def test_size_of_webp_is_read(options: dict[str, bool]):
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((300, 7)).convert("RGB").save(buffer, "WEBP", **options)
    assert read_webp_size(buffer.getvalue()) == (300, 7)
    assert read_webp_size(make_picture("webp", (1024, 512))) == (1024, 512)


def test_metadata_and_truncation_are_noticed():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "WEBP", exif=b"Exif\x00\x00II*\x00")
    for content in (buffer.getvalue(), make_picture("webp", (4, 4))[:-2], b"", b"RIFF"):
        with pytest.raises(ValueError, match=r".+"):
            read_webp_size(content)
