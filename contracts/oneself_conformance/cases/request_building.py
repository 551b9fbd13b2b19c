"""Target, body and credential of the request of a row."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from oneself_conformance.cases.pictures import make_picture
from oneself_conformance.document import OperationSpec, load_document, resolve
from oneself_conformance.http_client import FORM
from oneself_conformance.operations import request_examples
from oneself_conformance.targets import Deployment

#: A small valid picture, sent by default, because files have no example in YAML.
PICTURE = make_picture("png", (3, 2))
#: The bytes that every operation reads but those with uploads.
_LARGEST_BODY = 65_536

#: For each kind of credential: its security scheme, and its name among the data of a user.
CREDENTIALS = {
    "session": ("session", "session_token"),
    "cookie": ("sessionCookie", "session_token"),
    "session_header": ("sessionToken", "session_token"),
    "api_key": ("apiKey", "api_key"),
    "access_token": ("accessToken", "access_token"),
    "pat": ("personalAccessToken", "pat"),
    "jwt": ("jwt", "jwt"),
    "client": ("client", "client"),
}
ACTOR_KEYS = {kind: key for kind, (_, key) in CREDENTIALS.items()}


def default_kind(operation: OperationSpec | None) -> str:
    """Return the kind of credential that a row sends unless it names another."""
    if operation is None or operation.public:
        return "none"
    if operation.takes_client:
        return "client"
    # Operations on the credential of the request itself accept one kind alone.
    kinds = [kind for kind, (scheme, _) in CREDENTIALS.items() if scheme in operation.accepted]
    return kinds[0]


def credential_header(kind: str, value: str) -> tuple[str, str]:
    """Return the header of a credential."""
    if kind == "cookie":
        scheme = load_document()["components"]["securitySchemes"]["sessionCookie"]
        return "Cookie", f"{scheme['name']}={value}"
    if kind in {"api_key", "session_header"}:
        scheme = load_document()["components"]["securitySchemes"][CREDENTIALS[kind][0]]
        return scheme["name"], value
    if kind in {"basic", "client"}:
        return "Authorization", f"Basic {base64.b64encode(value.encode()).decode()}"
    return "Authorization", f"Bearer {value}"


def user_credential_headers(
    deployment: Deployment, user: Mapping[str, Any], kind: str
) -> list[tuple[str, str]]:
    """Return the headers that send a user's credential, as the recipe or our document says."""
    # Another service may have a value of its own for a cookie or a header.
    value = user[kind if kind in deployment.recipe.obtain else ACTOR_KEYS[kind]]
    return deployment.recipe.headers(kind, value, user) or [credential_header(kind, value)]


def is_unprinted(deployment: Deployment, dialect: str, kind: str) -> bool:
    """Return whether neither a page nor a recipe says how another service takes a credential."""
    if not deployment.is_foreign or kind in deployment.recipe.send:
        return False
    # Hyperclast's page says "session", and not how it is sent.
    return kind in {"cookie", "session_header"} or (dialect, kind) == ("hyperclast", "session")


def takes_pictures(operation: OperationSpec) -> bool:
    """Return whether the operation's body is a picture."""
    return any(media.startswith("image/") for media in operation.bodies)


def takes_uploads(operation: OperationSpec) -> bool:
    """Return whether a body is a picture, or JSON with a field larger than other bodies."""
    document = load_document()
    return takes_pictures(operation) or any(
        resolve(document, field).get("maxLength", 0) > _LARGEST_BODY
        for schema in operation.bodies.values()
        for field in resolve(document, schema).get("properties", {}).values()
    )


def build_target(
    path: str, operation: OperationSpec | None, request_spec: Mapping[str, Any]
) -> str:
    """Build the path with its parameters, which default to their examples, and the query."""
    described = operation.parameters if operation else ()
    parameters = {each["name"]: each["example"] for each in described if each["in"] == "path"}
    parameters |= request_spec.get("path", {})
    target = re.sub(r"\{([^}]+)\}", lambda found: str(parameters[found[1]]), path)
    query = request_spec.get("query")
    if query is None:
        return target
    return f"{target}?{query if isinstance(query, str) else urlencode(query)}"


def build_body(
    request_spec: Mapping[str, Any], operation: OperationSpec | None
) -> tuple[bytes, str | None]:
    """Build the body and its content type, if any.

    With `example`, the default body is the example of the document.
    """
    body, media = b"", None
    if "raw" in request_spec:
        raw = request_spec["raw"]
        if not isinstance(raw, str):
            raw = raw.get("prefix", "") + raw["repeat"] * raw["times"] + raw.get("suffix", "")
        body = raw.encode()
        media = FORM if operation and FORM in operation.bodies else "application/json"
    elif "form" in request_spec:
        body, media = urlencode(request_spec["form"], doseq=True).encode(), FORM
    elif "json" in request_spec:
        body, media = json.dumps(request_spec["json"]).encode(), "application/json"
    elif "picture" in request_spec:
        spec = request_spec["picture"]
        body = make_picture(spec["format"], tuple(spec["size"]))
        media = f"image/{spec['format']}"
    elif operation and takes_pictures(operation) and request_spec.get("example"):
        body, media = PICTURE, "image/png"
    elif operation and operation.bodies and request_spec.get("example"):
        media, example = next(iter(request_examples(operation).items()))
        body = (urlencode(example) if media == FORM else json.dumps(example)).encode()
    return body, request_spec.get("content_type", media)
