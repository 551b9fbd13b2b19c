"""Code samples of an operation: curl, and the SDKs for Python and TypeScript."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any, NamedTuple

#: The variables that hold a credential, by security scheme, as in the README.
_VARIABLES = {
    "session": "SESSION",
    "accessToken": "ACCESS_TOKEN",
    "personalAccessToken": "PAT",
    "jwt": "JWT",
    "apiKey": "API_KEY",
}
_CLIENT = "client"
#: How the Python SDK takes values of a format, and what a sample imports if it has the name.
_CONSTRUCTORS = {"date-time": "datetime.fromisoformat", "uuid": "UUID"}
_IMPORTS = (
    ("os.environ", "import os"),
    ("datetime.fromisoformat", "from datetime import datetime"),
    ("Path(", "from pathlib import Path"),
    ("UUID(", "from uuid import UUID"),
)
_FILE = "picture"
#: A body up to this length stays on one line.
_SHORT = 72


@dataclass(frozen=True, slots=True)
class Call:
    """An example call of an operation: what it needs, and the example of its body.

    `scheme` is the security scheme to use, or None. `parameters` are the required ones by place.
    `formats` has the formats of parameters and fields that have one, such as `uuid`. `is_open` is
    true for a body without fixed fields, and `has_result` for a success with a body.
    """

    operation_id: str
    method: str
    path: str
    scheme: str | None
    parameters: Mapping[str, Mapping[str, Any]]
    media_type: str | None
    body: Any
    formats: Mapping[str, str]
    is_open: bool
    has_result: bool

    @property
    def is_file(self) -> bool:
        """True if the body is the bytes of a file."""
        return self.media_type is not None and self.media_type.startswith("image/")

    @property
    def file_name(self) -> str:
        """The file that the samples send."""
        return f"{_FILE}.{(self.media_type or '').partition('/')[2]}"


class Sample(NamedTuple):
    """A sample, and the name of its language for readers and for style sheets."""

    label: str
    language: str
    code: str


def samples_of(call: Call, base_url: str) -> Sequence[Sample]:
    """Return the samples of a call to the deployment at a URL."""
    return (
        Sample("curl", "curl", _curl(call, base_url)),
        Sample("Python", "python", _python(call, base_url)),
        Sample("TypeScript", "typescript", _typescript(call, base_url)),
    )


def _curl(call: Call, base_url: str) -> str:
    path = call.path.format_map(call.parameters.get("path", {}))
    method = "" if call.method == "GET" else f" -X {call.method}"
    words = [f"curl{method} {shlex.quote(base_url + path)}"]
    if call.scheme == _CLIENT:
        words.append('-u "$CLIENT_ID:$CLIENT_SECRET"')
    elif call.scheme == "apiKey":
        words.append('-H "X-API-Key: $API_KEY"')
    elif call.scheme is not None:
        words.append(f'-H "Authorization: Bearer ${_VARIABLES[call.scheme]}"')
    words += [
        f"-H {shlex.quote(f'{name}: {value}')}"
        for name, value in call.parameters.get("header", {}).items()
    ]
    words += _curl_body(call)
    return " \\\n  ".join(words)


def _curl_body(call: Call) -> Iterator[str]:
    if call.media_type is None:
        return
    if call.media_type == "application/x-www-form-urlencoded":
        for name, value in call.body.items():
            yield f"--data-urlencode {shlex.quote(f'{name}={value}')}"
        return
    yield f"-H 'Content-Type: {call.media_type}'"
    if call.is_file:
        yield f"--data-binary @{call.file_name}"
    else:
        body = json.dumps(call.body, ensure_ascii=False)
        indented = json.dumps(call.body, ensure_ascii=False, indent=2)
        yield f"-d {shlex.quote(body if len(body) <= _SHORT else indented)}"


def _python(call: Call, base_url: str) -> str:
    arguments = [
        _python_value(name, value, call) for name, value in call.parameters.get("path", {}).items()
    ]
    if call.is_file:
        arguments.append(f'Path("{call.file_name}").read_bytes()')
        arguments.append(f'content_type="{call.media_type}"')
    elif call.is_open:
        arguments.append(_python_literal(call.body))
    named = dict(call.parameters.get("header", {}))
    if call.media_type and not call.is_file and not call.is_open:
        # The SDK has a class for each nested object, and all of them are optional.
        named |= {
            name: value for name, value in call.body.items() if not isinstance(value, Mapping)
        }
    arguments += [
        f"{_snake(name.removeprefix('X-'))}={_python_value(name, value, call)}"
        for name, value in named.items()
    ]
    dialect, _, name = call.operation_id.partition(".")
    assignment = "result = " if call.has_result else ""
    credential = _python_credential(call)
    lines = [
        "from oneself_client import Oneself",
        "",
        f"with Oneself({', '.join([_python_literal(base_url), *credential])}) as me:",
        *(
            f"    {line}"
            for line in _wrapped(f"{assignment}me.{dialect}.{_snake(name)}", arguments)
        ),
    ]
    code = "\n".join(lines)
    imports = [line for name, line in _IMPORTS if name in code]
    return "\n".join([*imports, *([""] if imports else []), code])


def _python_credential(call: Call) -> Iterator[str]:
    if call.scheme == _CLIENT:
        yield 'client=(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])'
    elif call.scheme is not None:
        argument = "api_key" if call.scheme == "apiKey" else "token"
        yield f'{argument}=os.environ["{_VARIABLES[call.scheme]}"]'


def _python_value(name: str, value: Any, call: Call) -> str:
    constructor = _CONSTRUCTORS.get(call.formats.get(name, ""))
    literal = _python_literal(value)
    return f"{constructor}({literal})" if constructor else literal


def _python_literal(value: Any) -> str:
    if isinstance(value, Mapping):
        members = (f"{_python_literal(key)}: {_python_literal(v)}" for key, v in value.items())
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_python_literal, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _typescript(call: Call, base_url: str) -> str:
    options = {"baseUrl": base_url, **_typescript_credential(call)}
    parts: dict[str, Any] = {
        argument: call.parameters[place]
        for place, argument in (("path", "path"), ("query", "query"), ("header", "headers"))
        if place in call.parameters
    }
    if call.is_file:
        content = f"await readFile('{call.file_name}')"
        parts["body"] = _Code(f"new Blob([{content}], {{ type: '{call.media_type}' }})")
    elif call.media_type is not None:
        parts["body"] = call.body
    assignment = "const { data } = " if call.has_result else ""
    arguments = _typescript_literal(parts) if parts else ""
    lines = [
        *(["import { readFile } from 'node:fs/promises';"] if call.is_file else []),
        "import { createOneself } from 'oneself-client';",
        "",
        f"const me = createOneself({_typescript_literal(options)});",
        f"{assignment}await me.{call.operation_id}({arguments});",
    ]
    return "\n".join(lines)


class _Code(str):
    """An expression of TypeScript, written as it is."""

    __slots__ = ()


def _typescript_credential(call: Call) -> Mapping[str, Any]:
    if call.scheme == _CLIENT:
        names = {"id": "CLIENT_ID", "secret": "CLIENT_SECRET"}
        return {"client": {key: _Code(f"process.env.{name}!") for key, name in names.items()}}
    if call.scheme is None:
        return {}
    option = "apiKey" if call.scheme == "apiKey" else "token"
    return {option: _Code(f"process.env.{_VARIABLES[call.scheme]}")}


def _typescript_literal(value: Any) -> str:
    """Write a value on one line, or with one member a line if it is long."""
    if isinstance(value, _Code):
        return str(value)
    if isinstance(value, Mapping):
        members = [f"{_typescript_key(key)}: {_typescript_literal(v)}" for key, v in value.items()]
        line = f"{{ {', '.join(members)} }}" if members else "{}"
        if len(line) <= _SHORT and "\n" not in line:
            return line
        return "{\n" + indent("".join(f"{member},\n" for member in members), "  ") + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_typescript_literal, value))}]"
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)[1:-1].replace('\\"', '"')
        return "'" + quoted.replace("'", "\\'") + "'"
    return json.dumps(value)


def _typescript_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else _typescript_literal(name)


def _wrapped(called: str, arguments: Sequence[str]) -> Sequence[str]:
    """Write a call on one line, or with one argument a line if it is long."""
    line = f"{called}({', '.join(arguments)})"
    if len(line) <= _SHORT:
        return [line]
    return [f"{called}(", *(f"    {argument}," for argument in arguments), ")"]


def _snake(name: str) -> str:
    """Return a name as the Python SDK has it: `expires_at` for `expiresAt`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()
