"""The document, the handlers, the wire types and the refusal codes agree."""

import ast
import functools
import inspect
import operator
import re
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

import handlers
from accounts.services import credentials
from accounts.services.events import EventKind
from accounts.services.principal import CredentialKind, PublicCredential
from handlers.exchange import Reply
from models import wire
from oneself.app import find_handler
from oneself.document import ALIAS, DOCUMENT_PATH, METHODS, load_document, operation_specs, resolve
from oneself.http.request.schemas import Schemas
from oneself.http.response.dialects import Dialects, dialect_of, path_pattern
from oneself_conformance.cases.table import load_rows
from tests.support.error_classes import ALL_REFUSALS, ERROR_MODULES

DOCUMENT = load_document()
OPERATIONS = {each.operation_id: each for each in operation_specs(DOCUMENT)}
TAGS = ("ipto", "hyperclast", "scaikey", "hantera", "jitsudo", "oauth", "status")
#: Statuses that every operation can return.
COMMON_STATUSES = {400, 405, 408, 413, 500}
#: The words of RFC 9110, where this version of Python has older ones.
PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
#: Acts that make an account safer: no limit of writes may refuse them.
SAFER = {
    "ipto.logOut",
    "ipto.revokeSession",
    "ipto.revokeOtherSessions",
    "ipto.revokeApiKey",
    "hantera.revokePat",
    "hyperclast.endSession",
    "hyperclast.revokeDevice",
}

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def raw(operation):
    return DOCUMENT["paths"][operation.path][operation.method]


def is_bytes(schema: dict[str, Any]) -> bool:
    """Return whether a body is a file, which is neither JSON nor typed."""
    return resolve(DOCUMENT, schema).get("format") == "binary"


def is_document(schema: dict[str, Any]) -> bool:
    """Return whether a body is an OpenAPI document, which is serialised once."""
    return schema == {"$ref": "#/components/schemas/OpenapiDocument"}


def schemas_within(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the content of each schema in a part of the document."""
    if isinstance(node, dict):
        if "type" in node and isinstance(node["type"], str):
            yield path, node
        for name, child in node.items():
            if name not in {"example", "examples", "enum"}:
                yield from schemas_within(child, f"{path}/{name}")
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from schemas_within(child, f"{path}/{index}")


def _aliases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if ALIAS in operation:
                yield path, method, operation


def test_alias_differs_from_its_operation_in_names_only():
    """AZ-07, clients C5: the same credentials, scope, policies, body and answers."""
    own = {
        *("operationId", "summary", "description", ALIAS),
        *("externalDocs", "x-extension", "x-extension-reason"),
    }
    aliases = list(_aliases())
    for _, method, alias in aliases:
        target = OPERATIONS[alias[ALIAS]]
        described = {name: value for name, value in raw(target).items() if name not in own}
        for response in (responses := dict(described["responses"])):
            responses[response] = {
                name: value for name, value in responses[response].items() if name != "links"
            }
        described["responses"] = responses
        assert method == target.method
        assert {name: value for name, value in alias.items() if name not in own} == described
        assert alias["operationId"] not in OPERATIONS
    assert len(aliases) == 5


def test_every_alias_has_a_row():
    """Clients C5."""
    called = {(row.raw.get("path"), row.operation_id) for row in load_rows()}
    assert {(path, alias[ALIAS]) for path, _, alias in _aliases()} <= called


def test_handlers_and_operations_correspond():
    """HT-23: there is no orphan on either side."""
    defined = set()
    for path in Path(handlers.__file__).parent.glob("*.py"):
        functions = [
            node
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        ]
        # A function that returns a reply is a handler, in any module.
        defined |= {
            (path.stem, node.name)
            for node in functions
            if path.stem in TAGS or "Reply[" in ast.unparse(node.returns)
        }
    resolved = {find_handler(name) for name in OPERATIONS}
    assert {(f.__module__.removeprefix("handlers."), f.__name__) for f in resolved} == defined


@every_operation
def test_handler_takes_the_body_of_its_operation(operation):
    """The type of `body` is the wire type generated from the document's schema."""
    annotation = inspect.signature(find_handler(operation.operation_id)).parameters.get("body")
    assert (annotation is not None) == bool(operation.bodies)
    for schema in operation.bodies.values():
        if is_bytes(schema):
            assert annotation.annotation is bytes
            continue
        name = schema["$ref"].rpartition("/")[2]
        assert annotation.annotation in {getattr(wire, name), dict[str, Any]}


@every_operation
def test_handler_returns_the_body_of_its_operation(operation):
    """The type of the reply is the wire type of the success, for ipto without its envelope."""
    status = min(operation.responses)
    content = operation.responses[status].get("content", {})
    annotation = inspect.signature(find_handler(operation.operation_id)).return_annotation
    assert annotation.__origin__ is Reply
    (body,) = annotation.__args__
    if not content:
        assert body is type(None)
        return
    if any(is_bytes(each["schema"]) or is_document(each["schema"]) for each in content.values()):
        assert body is bytes
        return
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    if operation.dialect == "ipto":
        envelope = DOCUMENT["components"]["schemas"][name]
        data = envelope["properties"]["data"]
        references = [each["$ref"] for each in data.get("oneOf", [data])]
        types = [getattr(wire, each.rpartition("/")[2]) for each in references]
        assert body == functools.reduce(operator.or_, types)
        return
    assert body == getattr(wire, name)


@every_operation
def test_operation_has_tag_name_summary_description_and_scope(operation):
    """And a reason, if no reference page documents it."""
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
    assert (scope == "client") == operation.takes_client


#: They end the account, or what protects it.
_ENDINGS = {"ipto.deleteAccount", "jitsudo.removeMfaMethod"}
#: Each replaces the token that asks for it, and adds no access.
_RENEWALS = {"hyperclast.registerDevice", "hantera.rotateOwnPat"}


@every_operation
def test_user_must_have_authenticated_recently_for_what_a_thief_wants(operation):
    """SE-12: to create a credential, be shown one, change the address or delete the account.

    The first three are the operations of a user whose response has a secret.
    """
    has_secret = any(
        each.get("format") == "password"
        for status, response in operation.responses.items()
        if status < HTTPStatus.BAD_REQUEST
        for media in response.get("content", {}).values()
        for each in _with_components(media["schema"])
    )
    name = operation.operation_id
    gives = bool(operation.accepted) and has_secret and name not in _RENEWALS
    demands = gives or name in _ENDINGS
    assert operation.recent_authentication == (300 if demands else None)
    if demands:
        [media] = operation.responses[HTTPStatus.UNAUTHORIZED]["content"].values()
        assert "recent_authentication_required" in media["examples"]


@every_operation
def test_public_act_declares_how_the_policies_see_it(operation):
    """AZ-07, attack finding 9: each operation that writes, or issues tokens, without a credential.

    Introspection and revocation are acts of a client, and give no access to an account.
    """
    is_act = operation.public and operation.method != "get"
    assert (operation.policy is not None) == (
        is_act or operation.operation_id == "oauth.issueToken"
    )
    if operation.policy is not None:
        values = {*CredentialKind, *PublicCredential}
        assert values.issuperset(operation.policy.credentials)
        assert operation.policy.scope in {None, *credentials.SESSION_RIGHTS}


@every_operation
def test_operation_lists_each_status_it_can_return(operation):
    """LG-18: the statuses follow from the properties of the operation."""
    statuses = {status for status in operation.responses if status >= 400}
    # The database may not confirm a commit (ADR 37).
    expected = COMMON_STATUSES | ({504} if operation.method != "get" else set())
    if operation.path not in {"/healthz", "/readyz"}:  # probes are answered with any host
        expected.add(421)
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
    # Another credential kind, a missing scope, a cross-site cookie, a policy.
    if operation.accepted or operation.policy is not None:
        expected.add(403)
    # Attempts at a client secret are limited, and writes.
    is_write = operation.accepted and operation.method != "get"
    if operation.takes_client or (is_write and operation.operation_id not in SAFER):
        expected.add(429)
    if any(each["name"] == "If-Match" for each in operation.parameters):
        expected.add(412)
    own = {
        "ipto.signUp": {409, 429},
        "ipto.logIn": {401, 429},
        "ipto.completeLogIn": {401, 429},
        "ipto.requestPasswordReset": {429},
        "ipto.createApiKey": {409},
        "hyperclast.getCurrentUser": {409},
        "hyperclast.getAccessToken": {409},
        "hyperclast.updateCurrentUser": {409},
        "hyperclast.logIn": {401, 429},
        "hyperclast.logInBrowser": {401, 429},
        "hyperclast.signUp": {409, 429},
        "hyperclast.signUpBrowser": {409, 429},
        "hantera.createPat": {409},
        "hantera.rotatePat": {409},
        "hantera.rotateOwnPat": {409},
        "hantera.requestEmailChange": {409},
        "hantera.getPicture": {404},
        "jitsudo.enrolTotp": {409},
        "jitsudo.confirmTotp": {404, 409},
        "jitsudo.regenerateBackupCodes": {404},
    }
    assert statuses == expected | own.get(operation.operation_id, set())


@every_operation
def test_refusals_of_an_operation_are_components_of_its_dialect(operation):
    """There is one component for each dialect and status."""
    prefix = {"hantera": "Problem", "status": "Problem"}.get(
        operation.dialect, operation.dialect.capitalize()
    )
    for status, response in raw(operation)["responses"].items():
        if int(status) >= 400:
            assert response == {"$ref": f"#/components/responses/{prefix}{status}"}


def test_examples_match_their_schemas():
    """Examples of bodies and refusals, by the validators of the service."""
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
            # A binary file has no example in the document: the tests create one.
            assert examples or is_bytes(content["schema"])
            for example in examples:
                assert schemas.validator(content["schema"]).is_valid(example), (
                    operation.operation_id,
                    example,
                )
                checked += 1
    assert checked > 500


def test_refusal_codes_and_classes_correspond():
    """The document lists the code of every class, and no other."""
    classes = {refusal.code for refusal in ALL_REFUSALS.values()}
    assert set(DOCUMENT["components"]["schemas"]["RefusalCode"]["x-extensible-enum"]) == classes
    trees = "\n".join(module.__doc__ for module in ERROR_MODULES)
    tree = set(re.findall(r"── [A-Z]\w+ +([a-z_]+)$", trees, re.MULTILINE))
    assert tree == classes


def test_keys_of_refusal_examples_are_codes():
    """Every code has an example."""
    codes = set()
    for name, response in DOCUMENT["components"]["responses"].items():
        for content in response.get("content", {}).values():
            for code, example in content.get("examples", {}).items():
                assert f"'{code}'" in repr(example["value"]), name
                codes.add(code)
    assert codes == set(DOCUMENT["components"]["schemas"]["RefusalCode"]["x-extensible-enum"])


def test_scopes_of_the_document_are_the_rights_of_a_session():
    """Contract section 6 (3): with a description of each, which the metadata cannot have."""
    scopes = DOCUMENT["components"]["schemas"]["Scope"]
    assert set(scopes["enum"]) == credentials.SESSION_RIGHTS
    assert len({*scopes["x-enum-descriptions"]}) == len(scopes["enum"])
    metadata = OPERATIONS["oauth.getServerMetadata"].responses[200]["content"]["application/json"]
    assert {*metadata["example"]["scopes_supported"]} == credentials.SESSION_RIGHTS
    schemas = DOCUMENT["components"]["schemas"]
    requested = dict.fromkeys([*schemas["Scope"]["enum"], *schemas["ApiKeyScope"]["enum"]])
    assert schemas["GrantedScope"]["x-extensible-enum"] == [*requested]


def test_event_kinds_of_the_document_are_those_of_the_service():
    kind = DOCUMENT["components"]["schemas"]["IptoEvent"]["properties"]["kind"]
    assert kind["x-extensible-enum"] == [each.value for each in EventKind]


def _with_components(node: Any) -> Iterator[Any]:
    """Yield a node and each component that it uses."""
    seen: list[Any] = []
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            target = resolve(DOCUMENT, current)
            if not any(target is each for each in seen):
                seen.append(target)
                waiting += target.values()
        elif isinstance(current, list):
            waiting += current
    yield from seen


def test_enums_of_responses_are_open_where_values_may_be_added():
    """Clients C10, contract section 6.5: an unknown value must not break a typed client."""
    extensible = [schema for _, schema in schemas_within(DOCUMENT) if "x-extensible-enum" in schema]
    assert len(extensible) == 5
    for schema in extensible:
        assert schema["type"] == "string"
        assert "enum" not in schema
        assert "may be added" in schema["description"]
        for value in schema["x-extensible-enum"]:
            assert re.fullmatch(schema["pattern"].removeprefix("^").removesuffix("$"), value)
            assert len(value) <= schema["maxLength"]
    for _, schema in schemas_within(DOCUMENT):
        assert "enum" not in schema or "may be added" not in schema.get("description", "")


@every_operation
def test_enums_of_requests_are_closed(operation):
    """Clients C10: the service rejects a value that it does not know."""
    described = raw(operation)
    requested = [described.get("requestBody", {}), described.get("parameters", [])]
    assert [each for each in _with_components(requested) if "x-extensible-enum" in each] == []


def test_security_schemes_and_credential_kinds_correspond():
    schemes = set(DOCUMENT["components"]["securitySchemes"])
    assert schemes == {kind.value for kind in CredentialKind} | {
        "sessionCookie",
        "sessionToken",
        "client",
    }


def _reachable(node: Any, found: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Collect each schema that a part of the document contains or refers to, by its path."""
    found.update(schemas_within(node, name))
    for reference in re.findall(r"'\$ref': '#/components/schemas/(\w+)'", repr(node)):
        if f"/{reference}" not in found:
            found[f"/{reference}"] = {}
            _reachable(DOCUMENT["components"]["schemas"][reference], found, f"/{reference}")
    return found


def _schemas_of_bodies() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schemas of all requests, and those of all responses."""
    requests: dict[str, Any] = {}
    responses: dict[str, Any] = {}
    for operation in OPERATIONS.values():
        _reachable([*operation.bodies.values()], requests, operation.operation_id)
        for response in operation.responses.values():
            _reachable(response.get("content", {}), responses, operation.operation_id)
    return requests, responses


def test_secrets_of_requests_are_write_only():
    """Contract section 6 (10): no tool shows them in a response, and none of them is in one."""
    requests, responses = _schemas_of_bodies()
    secret = {
        path: schema for path, schema in requests.items() if schema.get("format") == "password"
    }
    assert len(secret) > 8
    for path, schema in secret.items():
        assert schema.get("writeOnly") is True, path
    for path, schema in responses.items():
        assert "writeOnly" not in schema, path


def test_fields_of_shared_schemas_are_accepted_and_returned():
    """So nothing is `readOnly`: a response with other fields has a schema of its own."""
    requests, responses = _schemas_of_bodies()
    shared = {
        path.removeprefix("/")
        for path in requests.keys() & responses.keys()
        if requests[path].get("type") == "object" and path.count("/") == 1
    }
    assert shared == {"HanteraSettings", "HyperclastUpdateSettingsRequest"}
    assert "readOnly" not in repr(DOCUMENT)


def test_summaries_are_unique():
    """Contract section 6 (11): a search for one finds one operation."""
    summaries = Counter(
        operation["summary"]
        for item in DOCUMENT["paths"].values()
        for name, operation in item.items()
        if name in METHODS
    )
    assert [summary for summary, count in summaries.items() if count > 1] == []


def test_strings_and_lists_are_bounded_and_objects_closed():
    """Also in schemas inside components, which redocly does not check."""
    for path, schema in schemas_within(DOCUMENT):
        if schema["type"] == "string" and "enum" not in schema:
            assert "maxLength" in schema or schema.get("format") == "binary", path
        if schema["type"] == "array":
            assert "maxItems" in schema, path
        if schema["type"] == "object":
            closed = schema.get("additionalProperties") is False
            assert closed or "because" in schema["description"], path


def test_links_have_no_body_and_name_the_place_of_a_parameter():
    """Clients C1 and C7.

    The parser of openapi-generator refuses a body that is not a string, and the validator of
    express-openapi-validator takes a parameter named `id` for the id of a schema.
    """
    for operation in OPERATIONS.values():
        for response in operation.responses.values():
            for name, link in response.get("links", {}).items():
                assert "requestBody" not in link, (operation.operation_id, name)
                for parameter in link.get("parameters", {}):
                    assert re.fullmatch(r"(path|query|header)\.\w+", parameter), parameter


def test_paths_are_in_kebab_case():
    """Names in braces are parameters."""
    segment = r"(\.?[a-z0-9]+([-.][a-z0-9]+)*|\{\w+\}(\.json)?)"
    for path in DOCUMENT["paths"]:
        assert re.fullmatch(f"(/{segment})*/?", path), path


def test_open_forms_have_no_typed_properties():
    """Clients C11: TypeScript's index signature would apply to the named members as well."""
    for path, schema in schemas_within(DOCUMENT):
        assert schema.get("additionalProperties", True) in (True, False), path


def test_integers_have_a_format_that_holds_their_maximum():
    """Clients C2: without a format, Java and Go take 32 bits, also for times after 2038."""
    for path, schema in schemas_within(DOCUMENT):
        if schema["type"] == "integer":
            bits = int(schema["format"].removeprefix("int"))
            largest = max(schema["enum"]) if "enum" in schema else schema["maximum"]
            assert largest < 2 ** (bits - 1), path
            assert bits == 64 or largest < 2**31, path


def test_binary_schemas_have_no_length():
    """Clients C2: generated Go would measure a file as a string; the limit is a setting anyway."""
    for path, schema in schemas_within(DOCUMENT):
        if schema.get("format") == "binary":
            assert "maxLength" not in schema, path


def test_names_of_enum_values_are_unique():
    """Clients C2: in Go, the names of all enums of a package share a namespace."""
    names: Counter[str] = Counter()
    for path, schema in schemas_within(DOCUMENT["components"]["schemas"]):
        if schema["type"] == "string" and "enum" in schema and path.count("/") == 1:
            enum = schema["enum"]
            given = schema.get("x-enum-varnames", [re.sub(r"\W", "_", v).upper() for v in enum])
            assert len(given) == len(enum), path
            names.update(given)
    assert [name for name, count in names.items() if count > 1] == []


def test_document_contains_neither_jinja_nor_python_names():
    """Connexion renders a file with Jinja, and a contract has no names of the implementation."""
    text = DOCUMENT_PATH.read_text()
    for trace in ("{{", "{%", "handlers.", "accounts.", "x-openapi-router-controller"):
        assert trace not in text


def test_documented_operations_refer_to_the_page_of_their_dialect():
    """Contract sections 6.1 and 6.9; extensions have a reason in its place."""
    # openapi-generator rejects a document with a relative address of the contact.
    assert DOCUMENT["info"]["contact"]["url"].startswith("https://")
    pages = {tag["name"]: tag.get("externalDocs") for tag in DOCUMENT["tags"]}
    assert {tag for tag, page in pages.items() if page is None} == {"oauth", "status"}
    for operation in OPERATIONS.values():
        is_published = dialect_of(operation.dialect).published
        is_documented = is_published and "x-extension" not in raw(operation)
        expected = pages[operation.dialect] if is_documented else None
        assert raw(operation).get("externalDocs") == expected, operation.operation_id


def test_path_belongs_to_the_dialect_of_its_operations():
    """A refusal before routing is rendered by that dialect."""
    dialects = Dialects(DOCUMENT)
    for operation in OPERATIONS.values():
        path = re.sub(r"\{[^}]+\}", "x", operation.path)
        assert dialects.owner(path) is dialect_of(operation.dialect)
        assert path_pattern(operation.path).fullmatch(path)


def test_password_operations_name_their_mailed_secret():
    """LG-13: it is looked up before they wait for a hash; only a login and a signup have none."""
    public = [each for each in OPERATIONS.values() if each.workload == "password" and each.public]
    without = {each.operation_id for each in public if each.mailed_secret is None}
    assert without == {
        *("ipto.logIn", "ipto.signUp"),
        *("hyperclast.logIn", "hyperclast.logInBrowser"),
        *("hyperclast.signUp", "hyperclast.signUpBrowser"),
    }


@every_operation
def test_refusals_begin_with_the_words_of_their_status(operation):
    """Readers and generators show a description beside a bare number."""
    for status, response in operation.responses.items():
        if status >= HTTPStatus.BAD_REQUEST:
            phrase = PHRASES.get(status, HTTPStatus(status).phrase)
            assert response["description"].startswith(f"{phrase}. "), status
