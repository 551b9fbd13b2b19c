"""Placeholders in place of secrets, in everything that a run prints or writes."""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, quote_plus

from oneself_conformance.http_client import Answer

__all__ = ["SecretMask"]

#: A shorter value occurs in other texts by chance.
_MIN_LENGTH = 6
_WORDS = (
    r"(?:token|secret|password|passphrase|key|pat|jwt|ticket|csrf|otp|assertion"
    r"|(?:recovery|backup|device|login)_?codes?)s?"
)
_SECRET_NAME = re.compile(rf"{_WORDS}$", re.IGNORECASE)
#: What is known of a user and is no secret; every other value of a user is one.
_PUBLIC_NAME = re.compile(
    r"(?:.*[_.])?(?:e?mail|id|uuid|name|at|provider|roles?|status|locale|scopes?)$", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"otpauth:|eyJ[\w-]+\.[\w-]+\.")
#: Members of JSON and of Python's dictionaries, form fields, and headers, whose values are secrets
#: even if they are not known. An end that was cut off does not show them.
_UNKNOWN = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        (
            rf"(?P<head>[\"'][\w-]*{_WORDS}\\*[\"']\s*:\s*(?P<quote>\\*[\"']))"
            r"(?P<value>(?:(?!(?P=quote))[^\n])+)"
        ),
        (
            r"(?P<head>(?:^|[?&\s'\"])[A-Za-z_]*(?:token|secret|password|assertion)=)"
            r"(?P<value>[^&\s'\"]+)"
        ),
        r"(?P<head>\bAuthorization: ?(?:[\w-]+ )?)(?P<value>[^\s'\"]+)",
        r"(?P<head>\bSet-Cookie: ?[^=;\s]+=)(?P<value>[^\s'\";,]+)",
        r"(?P<head>(?<!Set-)\bCookie: ?)(?P<value>[^\n'\"]+)",
        (
            r"(?P<head>\bX-[\w-]*(?:token|key|secret|csrf|xsrf|auth|session)[\w-]*: ?)"
            r"(?P<value>[^\s'\"]+)"
        ),
    )
)
_PLACEHOLDER = re.compile(r"\$[A-Z]")
#: Begins the placeholders of secrets in answers.
_NEW = "$NEW_"


class SecretMask:
    """The secrets of a run, and their placeholders, such as `$SESSION_TOKEN`."""

    def __init__(self) -> None:
        self._placeholders: dict[str, str] = {}
        #: By their last characters, so that few of thousands are compared with a text.
        self._by_end: dict[str, list[str]] = {}
        self._announce: Callable[[str], object] = lambda _secret: None

    def announce_to(self, announce: Callable[[str], object]) -> None:
        """Pass on each secret from now on as soon as it is known."""
        self._announce = announce

    def add(self, user: str, values: Mapping[str, Any]) -> None:
        """Register all values of a user that are not public; those of `base` have no prefix."""
        prefix = "" if user == "base" else f"{user.upper()}_"
        for name, value in values.items():
            if isinstance(value, str) and not _PUBLIC_NAME.match(name):
                self._register(value, f"${prefix}{_variable(name)}")

    def learn(self, answer: Answer) -> None:
        """Register the secrets that an answer creates: in JSON, in cookies and in headers."""
        for value in answer.values("set-cookie"):
            name, _, secret = value.partition(";")[0].partition("=")
            self._register(secret.strip('"'), f"{_NEW}{_variable(name)}")
        if answer.status >= HTTPStatus.BAD_REQUEST:
            return  # what a refusal has under the name of a secret is a sentence
        try:
            content = json.loads(answer.body)
        except ValueError:
            content = None
        self.learn_from([content, dict(answer.headers)])

    def learn_from(self, content: Any) -> None:
        """Register the strings in JSON whose names or forms are those of secrets."""
        for name, value in _strings(content):
            if (_SECRET_NAME.search(name) or _SECRET_VALUE.match(value)) and " " not in value:
                self._register(value, f"{_NEW}{_variable(name)}")

    def _register(self, value: str, placeholder: str) -> None:
        known = self._placeholders.get(value, "")
        # The name by which a user has a secret is better than that of an answer.
        is_renamed = known.startswith(_NEW) and not placeholder.startswith(_NEW)
        if len(value) < _MIN_LENGTH or (known and not is_renamed):
            return
        for form in _forms(value):
            self._by_end.setdefault(form[-_MIN_LENGTH:], []).append(form)
            suffix = "_BASE64" if form == b64encode(value.encode()).decode() else ""
            self._placeholders[form] = placeholder + suffix
        if not known:
            self._announce(value)

    def apply(self, text: str) -> str:
        """Replace each known secret by its placeholder, and what looks like one by `***`."""
        for value in self._find(text):
            text = text.replace(value, self._placeholders[value])
        for pattern in _UNKNOWN:
            text = pattern.sub(_hide, text)
        return text

    def _find(self, text: str) -> list[str]:
        ends = {text[at : at + _MIN_LENGTH] for at in range(len(text) - _MIN_LENGTH + 1)}
        found = {value for end in ends if end in self._by_end for value in self._by_end[end]}
        # Longer ones first: one secret may be a part of another.
        return sorted(found, key=len, reverse=True)

    def apply_to_command(self, command: str) -> str:
        """Replace the secrets in a shell command; placeholders are variables of the shell."""
        try:
            words = shlex.split(command)
        except ValueError:
            return self.apply(command)
        return " ".join(_quote(self.apply(word)) for word in words)


def _strings(content: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the strings in JSON, each with the name of its member or of its list."""
    if isinstance(content, str):
        yield name, content
    elif isinstance(content, Mapping):
        for below, value in content.items():
            yield from _strings(value, below)
    elif isinstance(content, list):
        for value in content:
            yield from _strings(value, name)


def _forms(value: str) -> Iterable[str]:
    """Return a secret as texts have it: plain, escaped, in a URL, and within a text in Base64."""
    data = value.encode()
    escaped = {quote(value, safe=""), quote_plus(value)}
    quoted = {json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)}
    forms = {value, b64encode(data).decode(), *escaped, *(each[1:-1] for each in quoted)}
    forms |= {re.sub("%..", lambda found: found[0].lower(), each) for each in escaped}
    for before in range(3):
        # The characters that depend on the secret alone, for each place in a group of three bytes.
        encoded = b64encode(bytes(before) + data).decode()
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        forms |= {encoded[first:last], encoded[first:last].translate(_URL_SAFE)}
    return forms


_URL_SAFE = str.maketrans("+/", "-_")


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()


def _quote(word: str) -> str:
    if not _PLACEHOLDER.search(word):
        return shlex.quote(word)
    escaped = re.sub(r'(["\\`]|\$(?![A-Z]))', r"\\\1", word)
    return f'"{escaped}"'


def _hide(found: re.Match[str]) -> str:
    return found[0] if _PLACEHOLDER.search(found["value"]) else f"{found['head']}***"
