"""Tests of reading the body of an operation."""

import pytest

from accounts.errors import InvalidRequest
from oneself.document import load_document, operation_specs
from oneself.http.request.arguments import ArgumentReader
from oneself.http.request.errors import MalformedBody, UnexpectedBody, UnsupportedMediaType
from oneself.http.request.schemas import Schemas
from tests.support.pictures import encoded, gradient

DOCUMENT = load_document()
SCHEMAS = Schemas(DOCUMENT)
READERS = {each.operation_id: ArgumentReader(each, SCHEMAS) for each in operation_specs(DOCUMENT)}
PICTURES = (b"image/png", b"image/jpeg", b"image/webp")


def _read(operation_id, body, content_type):
    headers = {} if content_type is None else {b"content-type": content_type}
    arguments = READERS[operation_id].read({"query_string": b""}, headers, body)
    return {name: value for name, value in arguments.items() if name == "body"}


@pytest.mark.parametrize("content_type", PICTURES)
@pytest.mark.parametrize(
    "body",
    [encoded(gradient()), b"", b"{}", b"\xff\xfe\0", b'{"twice": 1, "twice": 2}'],
    ids=["picture", "nothing", "JSON", "bytes", "bad JSON"],
)
def test_picture_is_passed_on_as_bytes(body, content_type):
    """IM-01: its format is detected later, and its content type not believed."""
    assert _read("hantera.uploadPicture", body, content_type) == {"body": body}


@pytest.mark.parametrize("content_type", [b"IMAGE/PNG", b"image/png; name=a.png", b" image/png "])
def test_picture_content_type_may_have_parameters(content_type):
    """IM-07, RFC 9110 section 8.3.1: in any case; a file name is a parameter."""
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
def test_other_picture_content_type_is_rejected(content_type):
    """IM-01: so is none, for any body."""
    with pytest.raises(UnsupportedMediaType):
        _read("hantera.uploadPicture", encoded(gradient()), content_type)


@pytest.mark.parametrize("content_type", PICTURES)
def test_picture_is_rejected_by_other_operations(content_type):
    """IM-01."""
    with pytest.raises(UnsupportedMediaType):
        _read("hantera.updateProfile", encoded(gradient()), content_type)


def test_head_is_checked_before_the_body():
    """HT-07: of a large upload in JSON, whose body is not there to be parsed."""
    reader = READERS["jitsudo.updateUserProfile"]
    tenant = {b"x-tenant-id": b"2489e9ad-2ee2-8e00-8ec9-32d5f69181c0"}
    json = {b"content-type": b"application/json"}
    reader.check_head({"query_string": b""}, tenant | json)
    with pytest.raises(InvalidRequest):
        reader.check_head({"query_string": b""}, json)
    with pytest.raises(UnsupportedMediaType):
        reader.check_head({"query_string": b""}, tenant | {b"content-type": b"image/png"})


@pytest.mark.parametrize("operation_id", ["hantera.getPicture", "hantera.removePicture"])
def test_undocumented_body_is_rejected(operation_id):
    """HT-08: of any content type; an empty one is accepted."""
    assert _read(operation_id, b"", b"image/png") == {}
    for body in (b"x", b" "):
        with pytest.raises(UnexpectedBody):
            _read(operation_id, body, b"image/png")


JSON = b"application/json"


@pytest.mark.parametrize("operation_id", ["ipto.logOut", "hyperclast.regenerateAccessToken"])
@pytest.mark.parametrize("body", [b"{}", b" {\r\n\t} "])
@pytest.mark.parametrize("content_type", [JSON, b"Application/JSON; charset=utf-8"])
def test_empty_object_is_no_body(operation_id, body, content_type):
    """Clients C8: HTTP libraries send it with a POST that is given no body."""
    assert _read(operation_id, body, content_type) == _read(operation_id, b"", content_type)


@pytest.mark.parametrize(
    ("operation_id", "body", "content_type"),
    [
        *(
            ("ipto.logOut", body, JSON)
            for body in (b"{", b"[]", b"null", b'{"a":1}', b"{}{}", b" ")
        ),
        ("ipto.logOut", b"{}\x0b", JSON),
        *(("ipto.logOut", b"{}", media) for media in (b"", b"text/plain", b"application/jsonx")),
        ("hantera.removePicture", b"{}", JSON),
        ("ipto.getCurrentUser", b"{}", JSON),
    ],
)
def test_any_other_body_of_an_operation_without_one_is_rejected(operation_id, body, content_type):
    """HT-08, clients C8."""
    with pytest.raises(UnexpectedBody):
        _read(operation_id, body, content_type)


def test_json_is_validated():
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


def test_form_is_validated():
    """HT-03."""
    form = b"application/x-www-form-urlencoded"
    assert _read("oauth.revokeToken", b"token=a+b", form) == {"body": {"token": "a b"}}
    with pytest.raises(InvalidRequest) as refused:
        _read("oauth.revokeToken", b"", form)
    assert [each.field for each in refused.value.violations] == [("token",)]
