"""Placeholders in place of secrets, in everything that a run prints or writes."""

import base64
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

__all__ = ["SecretMask"]

_SECRET_NAME = re.compile(r"token|secret|password|key|pat$|jwt|^client$", re.IGNORECASE)
#: A shorter value occurs in other texts by chance.
_MIN_LENGTH = 6
#: Members of JSON and form fields, and headers, that hold secrets which no user is known to have.
_MEMBER = re.compile(
    r'("(?:[A-Za-z]*[_-]?)*(?:token|secret|password|key|pat|jwt)s?"\s*:\s*")((?:[^"\\]|\\.)+)(?=")',
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"((?:^|[?&\s'\"])[A-Za-z_]*(?:token|secret|password)=)([^&\s'\"]+)", re.IGNORECASE
)
_HEADER = re.compile(
    r"((?:Authorization: (?:Bearer|Basic)|X-API-Key:|X-Session-Token:|Set-Cookie: [^=;]+=|"
    r"Cookie: [^=;]+=) ?)([^\s'\";,]+)",
    re.IGNORECASE,
)


class SecretMask:
    """The secrets of a run, and their placeholders, such as `$SESSION_TOKEN`."""

    def __init__(self) -> None:
        self._placeholders: dict[str, str] = {}

    def add(self, user: str, values: Mapping[str, Any]) -> None:
        """Register the secrets of a user; those of `base` have no prefix."""
        prefix = "" if user == "base" else f"{user.upper()}_"
        for name, value in values.items():
            if isinstance(value, str) and len(value) >= _MIN_LENGTH and _SECRET_NAME.search(name):
                placeholder = f"${prefix}{name.upper()}"
                self._placeholders.setdefault(value, placeholder)
                encoded = base64.b64encode(value.encode()).decode()
                self._placeholders.setdefault(encoded, f"{placeholder}_BASE64")

    def learn(self, body: bytes) -> None:
        """Register the secrets in an answer in JSON, which are not placed in any user's data."""
        try:
            self._learn(json.loads(body))
        except ValueError:
            return

    def _learn(self, content: Any) -> None:
        if isinstance(content, Mapping):
            texts = {name: each for name, each in content.items() if isinstance(each, str)}
            for name, value in texts.items():
                if len(value) >= _MIN_LENGTH and _SECRET_NAME.search(name):
                    self._placeholders.setdefault(value, f"$NEW_{name.upper()}")
        if isinstance(content, Mapping | list):
            for below in content.values() if isinstance(content, Mapping) else content:
                self._learn(below)

    def apply(self, text: str) -> str:
        """Replace each known secret by its placeholder, and what looks like one by `***`."""
        # Longer ones first: one secret may be a part of another.
        for value in sorted(self._placeholders, key=len, reverse=True):
            text = text.replace(value, self._placeholders[value])
        for pattern in (_MEMBER, _FIELD, _HEADER):
            text = pattern.sub(_hide, text)
        return text

    def apply_to_command(self, command: str) -> str:
        """Replace the secrets in a shell command; placeholders are variables of the shell."""
        try:
            words = shlex.split(command)
        except ValueError:
            return self.apply(command)
        return " ".join(_quote(self.apply(word)) for word in words)

    def secrets(self) -> list[str]:
        """Return the known secrets."""
        return [*self._placeholders]


def _quote(word: str) -> str:
    if not re.search(r"\$[A-Z]", word):
        return shlex.quote(word)
    escaped = re.sub(r'(["\\`]|\$(?![A-Z]))', r"\\\1", word)
    return f'"{escaped}"'


def _hide(found: re.Match[str]) -> str:
    return found[0] if found[2].startswith("$") else f"{found[1]}***"
