"""Requests with a NUL in any text, which PostgreSQL cannot store.

SQLite can, so that these tests show on it only that nothing else goes wrong.
"""

import base64
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from oneself.document import OperationSpec, load_document, operation_specs, resolve
from oneself.http.request.forms import FORM
from oneself.web.page_forms import PAGES
from oneself_conformance.cases.request_building import PICTURE, takes_pictures
from oneself_conformance.http_client import Request
from tests.support.databases import Storage
from tests.support.in_process import InProcess

DOCUMENT = load_document()
OPERATIONS = {spec.operation_id: spec for spec in operation_specs(DOCUMENT)}
JSON = "application/json"
CREDENTIALS = {
    "session": ("Authorization", "Bearer {session_token}"),
    "cookie": ("Cookie", "__Host-oneself_session={session_token}"),
    "accessToken": ("Authorization", "Bearer {access_token}"),
    "pat": ("Authorization", "Bearer {pat}"),
    "jwt": ("Authorization", "Bearer {jwt}"),
    "apiKey": ("X-API-Key", "{api_key}"),
}


class Draft(NamedTuple):
    """A request under construction, and the place of the NUL."""

    place: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@pytest.fixture(scope="module")
def service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    folder = tmp_path_factory.mktemp("hostile")
    service = InProcess(folder, storage.make(folder))
    yield service
    service.close()
    storage.drop(service.location)


def _places(value: Any) -> Iterator[tuple[str, Any]]:
    """Each text in a JSON value, and each name of an object, with a NUL appended."""
    if isinstance(value, str):
        yield "", f"{value}\0"
    elif isinstance(value, dict):
        for name, inner in value.items():
            rest = {key: value[key] for key in value if key != name}
            yield f"{name} itself", {**rest, f"{name}\0": inner}
            for place, changed in _places(inner):
                yield f"{name} {place}", {**value, name: changed}
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            for place, changed in _places(inner):
                yield f"{number} {place}", [*value[:number], changed, *value[number + 1 :]]


def _basic(name: str, secret: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"


def _example(operation: OperationSpec, view: Mapping[str, str]) -> Draft:
    """Return the document's example, sent by a user who may send it."""
    path, headers, body = operation.path, {"User-Agent": "pytest"}, None
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
        elif parameter["in"] == "header":
            headers[parameter["name"]] = parameter["example"]
    if operation.accepted:
        headers["Authorization"] = f"Bearer {view['session_token']}"
    if operation.takes_client:
        headers["Authorization"] = _basic(view["client_id"], view["client_secret"])
    if operation.bodies:
        spec = DOCUMENT["paths"][operation.path][operation.method]["requestBody"]
        media, content = next(iter(resolve(DOCUMENT, spec)["content"].items()))
        headers["Content-Type"] = media
        body = PICTURE if takes_pictures(operation) else content["example"]
    return Draft("nowhere", path, {}, headers, body)


def _with_nuls(operation: OperationSpec, view: Mapping[str, str]) -> Iterator[Draft]:
    """Yield the example, then copies with a NUL in one place each."""
    draft = _example(operation, view)
    yield draft
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            path = operation.path.replace(f"{{{parameter['name']}}}", f"{parameter['example']}\0")
            yield draft._replace(place="path", path=path)
        elif parameter["in"] == "query":
            yield draft._replace(
                place=f"query {parameter['name']}", query={parameter["name"]: "a\0"}
            )
    for name, value in draft.headers.items():
        headers = {**draft.headers, name: f"{value}\0"}
        yield draft._replace(place=f"header {name}", headers=headers)
    rest = {name: draft.headers[name] for name in draft.headers if name != "Authorization"}
    for place, (name, value) in _credentials(operation, view).items():
        yield draft._replace(place=place, headers={**rest, name: value})
    if draft.body is not None and not takes_pictures(operation):
        for place, body in _places(draft.body):
            yield draft._replace(place=f"body {place}", body=body)


def _credentials(
    operation: OperationSpec, view: Mapping[str, str]
) -> Mapping[str, tuple[str, str]]:
    """Yield a header with a NUL for each kind of credential."""
    if operation.accepted:
        return {
            kind: (name, value.format_map(view) + "\0")
            for kind, (name, value) in CREDENTIALS.items()
        }
    if not operation.takes_client:
        return {}
    name, secret = view["client_id"], view["client_secret"]
    pairs = {
        "id, encoded": ("a%00b", secret),
        "id": ("a\0b", secret),
        "id, at its end": (f"{name}%00", secret),
        "secret, encoded": (name, f"{secret}%00"),
        "secret": (name, f"{secret}\0"),
    }
    return {place: ("Authorization", _basic(*pair)) for place, pair in pairs.items()}


def _status(service: InProcess, method: str, draft: Draft) -> int:
    body = draft.body or b""
    if not isinstance(body, bytes):
        form = draft.headers["Content-Type"] == FORM
        body = (urlencode if form else json.dumps)(body).encode()
    target = draft.path + (f"?{urlencode(draft.query, quote_via=quote)}" if draft.query else "")
    return service.ask(Request(method.upper(), target, tuple(draft.headers.items()), body)).status


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_nul_in_a_request_is_no_server_error(
    operation: OperationSpec, service: InProcess, caplog: pytest.LogCaptureFixture
):
    """HT-04: from known and unknown callers, in every place."""
    view, statuses = service.create_demo_user(), {}
    with caplog.at_level(logging.ERROR):
        for number in range(len([*_with_nuls(operation, view)])):
            draft = [*_with_nuls(operation, view)][number]
            statuses[draft.place] = _status(service, operation.method, draft)
            if statuses[draft.place] < 400 and operation.method != "get":
                view = service.create_demo_user()  # the handler may have ended the credential
    # Or no request would have got far enough to prove anything.
    assert not operation.accepted or statuses.pop("nowhere") != 401
    assert {place: status for place, status in statuses.items() if status >= 500} == {}
    assert caplog.records == []


@pytest.mark.parametrize("path", PAGES)
def test_nul_in_a_link_or_form_is_no_server_error(
    path: str, service: InProcess, caplog: pytest.LogCaptureFixture
):
    """HT-04: pages too, which no document describes."""
    page, headers = PAGES[path], {"Content-Type": FORM}
    values = {"email": "alice\0@example.com", "action": "again\0"}
    links = [{name: values.get(name, "ots_\0")} for name in page.parameters]
    forms = [{name: values.get(name, "ots_\0")} for name in page.fields]
    with caplog.at_level(logging.ERROR):
        statuses = [
            _status(service, method, Draft("page", path, query, headers, body))
            for method, query, body in (
                *(("GET", link, None) for link in links),
                *(("POST", {}, form) for form in forms),
            )
        ]
    assert [status for status in statuses if status >= 500] == []
    assert caplog.records == []
