"""The document, the handlers, the wire types and the refusals agree."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import handlers
from accounts.services import credentials
from accounts.services.principal import CredentialKind
from handlers.exchange import Reply
from models import wire
from oneself.app import find_handler
from oneself.document import DOCUMENT_PATH, load_document, operation_specs, resolve
from oneself.http.request.schemas import Schemas
from oneself.http.response.dialects import Dialects, dialect_of, path_pattern
from tests.support.error_classes import ALL_REFUSALS, ERROR_MODULES

DOCUMENT = load_document()
OPERATIONS = {each.operation_id: each for each in operation_specs(DOCUMENT)}
TAGS = ("ipto", "hyperclast", "scaikey", "hantera", "jitsudo", "oauth", "status")
#: What DESIGN calls "everywhere": each operation can answer these, whatever it does.
EVERYWHERE = {400, 405, 408, 413, 421, 500}

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def raw(operation):
    return DOCUMENT["paths"][operation.path][operation.method]


def is_bytes(schema: dict[str, Any]) -> bool:
    """Whether a body is a file, and so neither JSON nor typed."""
    return resolve(DOCUMENT, schema).get("format") == "binary"


def schemas_within(thing: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each schema of the components with the way to it."""
    if isinstance(thing, dict):
        if "type" in thing and isinstance(thing["type"], str):
            yield where, thing
        for name, below in thing.items():
            if name not in {"example", "examples", "enum"}:
                yield from schemas_within(below, f"{where}/{name}")
    elif isinstance(thing, list):
        for index, below in enumerate(thing):
            yield from schemas_within(below, f"{where}/{index}")


def test_each_handler_is_an_operation_and_each_operation_has_a_handler():
    """HT-23: there is no orphan on either side."""
    written = set()
    for path in Path(handlers.__file__).parent.glob("*.py"):
        functions = [
            node
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        ]
        # What replies is a handler, also in a module that is no dialect's yet.
        written |= {
            (path.stem, node.name)
            for node in functions
            if path.stem in TAGS or "Reply[" in ast.unparse(node.returns)
        }
    resolved = {find_handler(name) for name in OPERATIONS}
    assert {(f.__module__.removeprefix("handlers."), f.__name__) for f in resolved} == written


@every_operation
def test_a_handler_takes_the_body_that_its_operation_has(operation):
    """The type of `body` is the wire type that the document's schema became."""
    annotation = inspect.signature(find_handler(operation.operation_id)).parameters.get("body")
    assert (annotation is not None) == bool(operation.bodies)
    for schema in operation.bodies.values():
        if is_bytes(schema):
            assert annotation.annotation is bytes
            continue
        name = schema["$ref"].rpartition("/")[2]
        assert annotation.annotation in {getattr(wire, name), dict[str, Any]}


@every_operation
def test_a_handler_gives_the_body_that_its_operation_answers(operation):
    """The type of the reply is the wire type of the success; ipto's is within its envelope."""
    status = min(operation.responses)
    content = operation.responses[status].get("content", {})
    annotation = inspect.signature(find_handler(operation.operation_id)).return_annotation
    assert annotation.__origin__ is Reply
    (given,) = annotation.__args__
    if not content:
        assert given is type(None)
        return
    if any(is_bytes(each["schema"]) for each in content.values()):
        assert given is bytes
        return
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    if operation.dialect == "ipto":
        envelope = DOCUMENT["components"]["schemas"][name]
        name = envelope["properties"]["data"]["$ref"].rpartition("/")[2]
    assert given == getattr(wire, name)


@every_operation
def test_an_operation_says_what_it_is(operation):
    """Tag and name, summary, description, scope, and why it is there if no page documents it."""
    described = raw(operation)
    assert described["tags"] == [operation.dialect]
    assert re.fullmatch(rf"{operation.dialect}\.[a-z]+([A-Z][a-z]*)+", operation.operation_id)
    assert described["summary"]
    assert described["description"].strip()
    assert "security" in described
    assert described.get("x-extension", False) == ("x-extension-reason" in described)
    scope = described["x-scope"]
    assert scope in {"public", "any", "client"} | credentials.SESSION_RIGHTS
    assert (scope == "public") == operation.public
    assert (scope == "client") == (operation.client is not None)


@every_operation
def test_an_operation_lists_each_status_that_it_can_answer(operation):
    """DESIGN's table of refusals, by what the operation is like."""
    statuses = {status for status in operation.responses if status >= 400}
    expected = set(EVERYWHERE)
    if operation.workload != "inline" or not operation.public:
        expected.add(503)
    if operation.bodies:
        expected.add(415)
    if not operation.public:
        expected.add(401)
    if operation.dialect in {"hyperclast", "scaikey"}:
        expected.add(422)
    if "{" in operation.path:
        expected.add(404)
    # A credential of another kind, a scope that is missing, a cookie on an unsafe method, a policy.
    if operation.accepted:
        expected.add(403)
    # Wherever a password or a client's secret is checked, attempts are counted.
    if operation.client is not None or operation.scope == "me/auth:write":
        expected.add(429)
    if any(each["name"] == "If-Match" for each in operation.parameters):
        expected.add(412)
    own = {
        "ipto.signUp": {403, 409, 429},
        "ipto.logIn": {401, 403, 429},
        "ipto.requestPasswordReset": {429},
        "ipto.createApiKey": {409},
        "hyperclast.getCurrentUser": {409},
        "hyperclast.getAccessToken": {409},
        "hantera.createPat": {409, 429},
        "scaikey.requestEmailVerification": {429},
        "hantera.requestEmailChange": {409, 429},
        "hantera.getPicture": {404},
    }
    assert statuses == expected | own.get(operation.operation_id, set())


@every_operation
def test_each_refusal_of_an_operation_is_its_dialects_own(operation):
    """One component for each dialect and status, so that no operation describes it anew."""
    prefix = {"hantera": "Problem", "status": "Problem"}.get(
        operation.dialect, operation.dialect.capitalize()
    )
    for status, response in raw(operation)["responses"].items():
        if int(status) >= 400:
            assert response == {"$ref": f"#/components/responses/{prefix}{status}"}


def test_each_example_is_what_its_schema_says():
    """Examples of bodies and refusals, held against the validators that the service uses."""
    schemas = Schemas(DOCUMENT)
    checked = 0
    for operation in OPERATIONS.values():
        contents = [
            *resolve(DOCUMENT, raw(operation).get("requestBody", {})).get("content", {}).values(),
            *(
                content
                for response in operation.responses.values()
                for content in response.get("content", {}).values()
            ),
        ]
        for content in contents:
            examples = [each["value"] for each in content.get("examples", {}).values()]
            if "example" in content:
                examples.append(content["example"])
            # A file has none that could be written here: the tests make it.
            assert examples or is_bytes(content["schema"])
            for example in examples:
                assert schemas.validator(content["schema"]).is_valid(example), (
                    operation.operation_id,
                    example,
                )
                checked += 1
    assert checked > 500


def test_the_refusal_codes_are_the_classes():
    """Every class with a code is in the document's list, and nothing else is."""
    classes = {refusal.code for refusal in ALL_REFUSALS.values()}
    assert set(DOCUMENT["components"]["schemas"]["RefusalCode"]["enum"]) == classes
    trees = "\n".join(module.__doc__ for module in ERROR_MODULES)
    tree = set(re.findall(r"── [A-Z]\w+ +([a-z_]+)$", trees, re.MULTILINE))
    assert tree == classes


def test_the_keys_of_a_refusals_examples_are_its_codes():
    """A key names the code that its example has, and every code is the example of something."""
    seen = set()
    for name, response in DOCUMENT["components"]["responses"].items():
        for content in response.get("content", {}).values():
            for code, example in content.get("examples", {}).items():
                assert f"'{code}'" in repr(example["value"]), name
                seen.add(code)
    assert seen == set(DOCUMENT["components"]["schemas"]["RefusalCode"]["enum"])


def test_the_scopes_are_the_rights():
    """The document's list of entries is the one that is judged by."""
    assert set(DOCUMENT["components"]["schemas"]["Scope"]["enum"]) == credentials.SESSION_RIGHTS


def test_the_security_schemes_are_the_kinds_of_credential():
    """A kind that the document has not cannot be accepted, and the other way round."""
    schemes = set(DOCUMENT["components"]["securitySchemes"])
    assert schemes == {kind.value for kind in CredentialKind} | {"sessionCookie", "client"}


def test_every_string_and_list_is_bounded_and_every_object_closed():
    """What redocly cannot see into: schemas inside of components as well."""
    for where, schema in schemas_within(DOCUMENT["components"]):
        if schema["type"] == "string" and "enum" not in schema:
            assert "maxLength" in schema, where
        if schema["type"] == "array":
            assert "maxItems" in schema, where
        if schema["type"] == "object":
            closed = schema.get("additionalProperties") is False
            assert closed or "because" in schema["description"], where


def test_the_document_has_no_jinja_and_no_python_in_it():
    """Connexion would run a file through Jinja; and no name of ours belongs into a contract."""
    text = DOCUMENT_PATH.read_text()
    for trace in ("{{", "{%", "handlers.", "accounts.", "x-openapi-router-controller"):
        assert trace not in text


def test_each_path_belongs_to_the_dialect_of_its_operations():
    """No path is shared, and a refusal before routing speaks the right dialect."""
    dialects = Dialects(DOCUMENT)
    for operation in OPERATIONS.values():
        path = re.sub(r"\{[^}]+\}", "x", operation.path)
        assert dialects.owner(path) is dialect_of(operation.dialect)
        assert path_pattern(operation.path).fullmatch(path)
