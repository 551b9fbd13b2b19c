"""Tests of the comparison of handlers with the document, at the start of the service."""

from typing import Any

import pytest

from handlers.context import ClientContext, Context, DatabaseContext, PrincipalContext, UserContext
from models import wire
from oneself.app import find_handler
from oneself.document import load_document, operation_specs
from oneself.http.handler_signature import context_of
from oneself.http.idempotency import PARAMETER
from oneself.http.request.arguments import ArgumentReader
from oneself.http.request.schemas import Schemas

DOCUMENT = load_document()
SPECS = {spec.operation_id: spec for spec in operation_specs(DOCUMENT)}
SCHEMAS = Schemas(DOCUMENT)


def _context_of(operation_id, handler):
    types = dict(ArgumentReader(SPECS[operation_id], SCHEMAS).types)
    types.pop(PARAMETER, None)
    return context_of(SPECS[operation_id], handler, types)


def _body(context: UserContext, body: wire.IptoChangePasswordRequest): ...
def _other_body(context: UserContext, body: wire.ScaikeyChangePasswordRequest): ...
def _bytes(context: UserContext, body: bytes): ...
def _missing(context: UserContext): ...
def _surplus(context: UserContext, body: wire.IptoChangePasswordRequest, limit: int): ...
def _public(context: DatabaseContext, body: wire.IptoChangePasswordRequest): ...
def _reading(context: PrincipalContext, body: wire.IptoChangePasswordRequest): ...
def _page(context: UserContext, limit: int, cursor: str | None): ...
def _required_cursor(context: UserContext, limit: int, cursor: str): ...
def _untyped_limit(context: UserContext, limit: Any, cursor: str | None): ...
def _client(context: ClientContext, body: wire.OauthTokenRequest): ...
def _no_client(context: DatabaseContext, body: wire.OauthIntrospectionRequest): ...


@pytest.mark.parametrize("operation_id", SPECS)
def test_every_handler_has_the_signature_of_its_operation(operation_id):
    context = _context_of(operation_id, find_handler(operation_id))
    assert SPECS[operation_id].public is (context in {Context, DatabaseContext})


@pytest.mark.parametrize(
    ("operation_id", "handler", "context"),
    [
        ("ipto.changePassword", _body, UserContext),
        ("ipto.listEvents", _page, UserContext),
        ("oauth.issueToken", _client, ClientContext),
    ],
)
def test_context_is_the_annotation_of_the_first_parameter(operation_id, handler, context):
    assert _context_of(operation_id, handler) == context


@pytest.mark.parametrize(
    ("operation_id", "handler", "problem"),
    [
        ("ipto.changePassword", _other_body, "its body is a"),
        ("ipto.changePassword", _bytes, "its body is a"),
        ("ipto.changePassword", _missing, "its parameters differ: body"),
        ("ipto.changePassword", _surplus, "its parameters differ: limit"),
        ("ipto.changePassword", _public, "its context is"),
        ("ipto.changePassword", _reading, "its context is"),
        ("ipto.listEvents", _required_cursor, "its cursor is a"),
        ("ipto.listEvents", _untyped_limit, "its limit is a"),
        ("oauth.introspectToken", _no_client, "its context is"),
    ],
)
def test_handler_with_another_signature_is_rejected(operation_id, handler, problem):
    """An operation that reads with a single statement cannot write."""
    with pytest.raises(TypeError, match=rf"{operation_id}: .*{problem}"):
        _context_of(operation_id, handler)
