"""Deployment recipe: sign-up, login and the way of each kind of credential at another service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from oneself_conformance.http_client import Answer, Request, form_request, json_request
from oneself_conformance.placeholders import fill, resolve_pointer

__all__ = ["Recipe", "WrongRecipe", "perform", "read_recipe"]

_STEP_KEYS = {"method", "path", "json", "form", "headers", "keep"}
_SEND_KEYS = {"header", "prefix", "cookie", "with"}
_KEYS = {"sign_up", "log_in", "obtain", "send"}


class WrongRecipe(ValueError):
    """The file is malformed; the message says where."""


@dataclass(frozen=True)
class Recipe:
    """The requests and headers by which a service differs from ours.

    `sign_up` and `log_in` are requests, whose answers have the values named in `keep`, and
    `obtain` has such a request for further values. `send` says for a kind of credential which
    header or cookie carries it, and which other headers go `with` it.
    """

    sign_up: Mapping[str, Any] | None = None
    log_in: Mapping[str, Any] | None = None
    obtain: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    send: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def headers(self, kind: str, value: str, user: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the headers that send a credential; none if the recipe does not say."""
        spec = self.send.get(kind)
        if spec is None:
            return []
        more = [(name, str(fill(each, user.__getitem__))) for name, each in _pairs(spec, "with")]
        if "cookie" in spec:
            cookies = [(name, each) for name, each in more if name.lower() == "cookie"]
            more = [each for each in more if each not in cookies]
            all_cookies = "; ".join([f"{spec['cookie']}={value}", *(each for _, each in cookies)])
            return [("Cookie", all_cookies), *more]
        prefix = f"{spec['prefix']} " if "prefix" in spec else ""
        return [(spec["header"], f"{prefix}{value}"), *more]


def perform(
    step: Mapping[str, Any],
    ask: Callable[[Request], Answer],
    look_up: Callable[[str], Any],
    require: Callable[[Request, Answer], None],
) -> dict[str, Any]:
    """Send a request of a recipe, and return the values that it keeps.

    `require` checks a response that is no success, and may raise an error of its own.

    Raises:
        LookupError, TypeError, ValueError: The answer does not have them.
    """
    spec = fill({name: each for name, each in step.items() if name != "keep"}, look_up)
    headers = tuple(_pairs(spec, "headers"))
    if "form" in spec:
        request = form_request(spec["path"], spec["form"], headers)
    else:
        method = spec.get("method", "POST" if "json" in spec else "GET")
        request = json_request(method, spec["path"], spec.get("json"), headers)
    answer = ask(request)
    require(request, answer)
    if not 200 <= answer.status < 300:  # noqa: PLR2004 # successes
        raise ValueError(f"{request.method} {request.target} returns {answer.status}")
    content = {"cookies": _cookies(answer), **(answer.json() if answer.body else {})}
    return {name: resolve_pointer(content, each) for name, each in step.get("keep", {}).items()}


def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a file.

    Raises:
        OSError: There is no such file.
        WrongRecipe: It is malformed.
    """
    try:
        raw = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError:
        raise WrongRecipe(f"{path} is not YAML") from None
    if not isinstance(raw, Mapping) or raw.keys() - _KEYS:
        raise WrongRecipe(f"{path} may have: {', '.join(sorted(_KEYS))}")
    steps = {name: raw[name] for name in ("sign_up", "log_in") if name in raw}
    for name, each in {**steps, **raw.get("obtain", {})}.items():
        if not isinstance(each, Mapping) or each.keys() - _STEP_KEYS or "path" not in each:
            raise WrongRecipe(f"{path}: {name} needs a path, and may have {sorted(_STEP_KEYS)}")
    for name, each in raw.get("send", {}).items():
        if not isinstance(each, Mapping) or each.keys() - _SEND_KEYS:
            raise WrongRecipe(f"{path}: send/{name} may have {sorted(_SEND_KEYS)}")
        if not {"header", "cookie"} & each.keys():
            raise WrongRecipe(f"{path}: send/{name} needs a header or a cookie")
    return Recipe(**raw)


def _pairs(spec: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    return list(spec.get(name, {}).items())


def _cookies(answer: Answer) -> dict[str, str]:
    named = (value.partition(";")[0].partition("=") for value in answer.values("set-cookie"))
    return {name: value for name, _, value in named}
