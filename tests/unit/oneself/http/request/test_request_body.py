"""What is in a body, by what one operation of the document says of it."""

import pytest

from accounts.errors import InvalidRequest
from oneself.conformance.pictures import encoded, gradient
from oneself.document import load_document, operation_specs
from oneself.http.request.errors import MalformedBody, UnexpectedBody, UnsupportedMediaType
from oneself.http.request.request_body import RequestBodyReader
from oneself.http.request.schemas import Schemas

DOCUMENT = load_document()
SCHEMAS = Schemas(DOCUMENT)
CONTENTS = {
    each.operation_id: RequestBodyReader(each, SCHEMAS) for each in operation_specs(DOCUMENT)
}
PICTURES = (b"image/png", b"image/jpeg", b"image/webp")


def _read(operation_id, body, content_type):
    return CONTENTS[operation_id].read(
        body, {} if content_type is None else {b"content-type": content_type}
    )


@pytest.mark.parametrize("content_type", PICTURES)
@pytest.mark.parametrize(
    "body",
    [encoded(gradient()), b"", b"{}", b"\xff\xfe\0", b'{"twice": 1, "twice": 2}'],
    ids=["picture", "nothing", "JSON", "bytes", "bad JSON"],
)
def test_a_picture_is_given_as_it_came(body, content_type):
    """IM-01: what it is shows in its bytes; nothing here looks at them, or believes its name."""
    assert _read("hantera.uploadPicture", body, content_type) == {"body": body}


@pytest.mark.parametrize("content_type", [b"IMAGE/PNG", b"image/png; name=a.png", b" image/png "])
def test_the_name_of_a_kind_is_read_as_any_other(content_type):
    """RFC 9110, section 8.3.1: whatever its case and its parameters; a file name is one (IM-07)."""
    assert _read("hantera.uploadPicture", b"x", content_type) == {"body": b"x"}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"image/gif",
        b"image/svg+xml",
        b"image/*",
        b"image",
        b"application/octet-stream",
        b"application/json",
        b"multipart/form-data; boundary=x",
        b"text/plain",
        b"text/html",
        b"image/png; charset=utf-16",
        b"image/png, image/jpeg",
    ],
)
def test_another_kind_is_refused_by_its_name(content_type):
    """IM-01: and so is none, whatever is in the body."""
    with pytest.raises(UnsupportedMediaType):
        _read("hantera.uploadPicture", encoded(gradient()), content_type)


@pytest.mark.parametrize("content_type", PICTURES)
def test_a_picture_is_taken_only_where_one_is_documented(content_type):
    """IM-01."""
    with pytest.raises(UnsupportedMediaType):
        _read("hantera.updateProfile", encoded(gradient()), content_type)


@pytest.mark.parametrize("operation_id", ["hantera.getPicture", "hantera.removePicture"])
def test_where_no_body_is_documented_there_is_none(operation_id):
    """HT-08: whatever it calls itself; and its absence may call itself anything."""
    assert _read(operation_id, b"", b"image/png") == {}
    with pytest.raises(UnexpectedBody):
        _read(operation_id, b"x", b"image/png")


def test_json_is_read_and_held_against_its_schema():
    """HT-03: the refusal names the field."""
    assert _read("hantera.updateProfile", b'{"name": "John Admin"}', b"application/json") == {
        "body": {"name": "John Admin"}
    }
    with pytest.raises(MalformedBody):
        _read("hantera.updateProfile", b'{"name":', b"application/json")
    with pytest.raises(InvalidRequest) as refused:
        _read("hantera.updateProfile", b'{"name": 1}', b"application/json")
    [violation] = refused.value.violations
    assert (violation.place, violation.field) == ("body", ("name",))


def test_a_form_is_read_and_held_against_its_schema():
    """HT-03: each field of it."""
    form = b"application/x-www-form-urlencoded"
    assert _read("oauth.revokeToken", b"token=a+b", form) == {"body": {"token": "a b"}}
    with pytest.raises(InvalidRequest) as refused:
        _read("oauth.revokeToken", b"", form)
    assert [each.field for each in refused.value.violations] == [("token",)]
