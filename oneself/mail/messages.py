"""Composing mail from templates."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from accounts.services.mail.outbox import Message, MessageKind
from accounts.values.email_address import parse_address
from oneself.templating import TemplateBroken, Templates

# RFC 5322 section 2.1.1, without the line break.
_LONGEST_LINE = 998


@dataclass(frozen=True, slots=True)
class _Kind:
    """The values that the templates of a kind of message get.

    `page` is the path of the page that `link` leads to, and `query` maps the names in its query to
    parameters of the message; the page needs no script to read them. `shown` parameters are values
    of the same name. `optional` ones are empty if a message has none, such as text of a user, which
    is not mailed to an unverified address, and so are `times`, which are written for readers. A
    message that names an `account` also has the `release_link` of its secret.
    """

    page: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    times: tuple[str, ...] = ()


_BY_SECRET = {"secret": "secret"}
_ORIGIN = ("ip_address", "program")
_ACCOUNT = ("account",)
_OPENED = ("opened_at",)
_KINDS = {
    MessageKind.ACCOUNT_DELETED: _Kind("/restore", _BY_SECRET, optional=_ORIGIN, times=("until",)),
    # The secret by itself too, since a program may have requested the mail and then ask for it
    # (ScaiKey, POST /api/v1/me/verify-email/confirm).
    MessageKind.EMAIL_VERIFICATION: _Kind(
        "/verify-email", _BY_SECRET, ("secret",), _ACCOUNT, _OPENED
    ),
    MessageKind.EMAIL_CHANGE_CONFIRMATION: _Kind(
        "/change-email",
        {"identity": "identity_id", "secret": "secret"},
        optional=_ACCOUNT,
        times=_OPENED,
    ),
    MessageKind.EMAIL_CHANGE_NOTICE: _Kind(
        "/undo-email-change", _BY_SECRET, optional=("new_address", *_ORIGIN), times=("until",)
    ),
    MessageKind.EMAIL_CHANGED: _Kind(shown=("former_address",), times=("until",)),
    MessageKind.EMAIL_ALREADY_IN_USE: _Kind(optional=_ACCOUNT, times=_OPENED),
    MessageKind.PASSWORD_CHANGED: _Kind(optional=_ORIGIN),
    MessageKind.PASSWORD_RESET: _Kind("/reset-password", _BY_SECRET),
    MessageKind.API_KEY_CREATED: _Kind(optional=("name", *_ORIGIN)),
    MessageKind.PAT_CREATED: _Kind(optional=("name", *_ORIGIN)),
    MessageKind.PAT_REUSED: _Kind(optional=("name", *_ORIGIN)),
    MessageKind.TOKENS_EXPIRING: _Kind(shown=("number",), optional=("name",), times=("until",)),
    MessageKind.NEW_LOGIN: _Kind(optional=_ORIGIN),
    MessageKind.FAILED_LOGINS: _Kind(shown=("failures", "networks")),
    MessageKind.SECOND_FACTOR_ADDED: _Kind(optional=_ORIGIN),
    MessageKind.SECOND_FACTOR_REMOVED: _Kind(optional=_ORIGIN),
    MessageKind.RECOVERY_CODE_USED: _Kind(optional=("left", *_ORIGIN)),
}

#: Values that the service makes. All others may contain text of a user, and are defanged.
_MADE_BY_THE_SERVICE = frozenset(
    {"secret", "former_address", "failures", "networks", "number", "left", *_ACCOUNT, *_ORIGIN}
)

_MAX_TEXT_OF_USERS = 40
# The full stops are those that IDNA reads as dots (RFC 3490 section 3.1).
_LINK = re.compile(r"(?<=\S)[.\u3002\uff0e\uff61](?=\S)|(?<=[a-zA-Z]):(?=\S)")

# Needs escaping, so that a template that does not escape is noticed.
_SAMPLE = "<b title='sample'>&\"sample\"</b>"
_SAMPLE_TIME = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
_REQUIRED_SAMPLES = dict.fromkeys(
    ("secret", "identity_id", "former_address", "failures", "networks", "number"), _SAMPLE
)
_ALL_SAMPLES = (
    _REQUIRED_SAMPLES
    | dict.fromkeys(("new_address", "name", *_ORIGIN, *_ACCOUNT), _SAMPLE)
    | dict.fromkeys((*_OPENED, "until"), _SAMPLE_TIME.isoformat())
)


class _Rendered(NamedTuple):
    subject: str
    text: str
    html: str


class Messages:
    """Composes mail from templates. Links lead to the public URL and nowhere else (EM-12)."""

    def __init__(self, templates: Templates, *, public_url: str) -> None:
        """`public_url` is the operator's setting; nothing from a request is used."""
        host = urlsplit(public_url).hostname or "localhost"
        self._templates = templates
        self._public_url = public_url.rstrip("/")
        self._host = f"[{host}]" if ":" in host else host

    def compose(self, message: Message, parameters: Mapping[str, str]) -> EmailMessage:
        """Compose a message of the outbox in the language of its reader.

        Composing it again gives the same bytes, so that a message that is sent twice is recognised
        as one (EM-18). Addresses are built as objects, so nothing can be injected into the header
        (EM-15).

        Raises:
            ValueError: This version does not know the kind of message.
            KeyError: A parameter is missing.
            accounts.errors.InvalidRequest: The recipient is not an email address.
        """
        kind = MessageKind(message.kind)
        language = self._templates.language(message.locale)
        time = self._templates.format_time(message.created_at, language)
        values = self._values(kind, parameters, language) | {"time": time}
        rendered = self._render(kind, language, values, self._templates.render)
        local, _, domain = parse_address(message.recipient).mailbox.rpartition("@")
        mail = EmailMessage()
        product = self._templates.brand.name
        mail["From"] = Address(product, "no-reply", self._host)
        mail["To"] = Address(username=local, domain=domain)
        mail["Subject"] = f"{rendered.subject} \N{EN DASH} {product}"
        mail["Date"] = format_datetime(message.created_at)
        mail["Message-ID"] = f"<{message.id}@{self._host}>"
        # RFC 3834: no vacation reply is to answer this.
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(rendered.text, cte=_encoding(rendered.text))
        mail.add_alternative(rendered.html, subtype="html", cte=_encoding(rendered.html))
        # Not earlier: set_content would move a Content- header to the first part.
        mail["Content-Language"] = language
        # Python would make up a new boundary each time. An id is random, so no text contains it.
        mail.set_boundary(f"=_{message.id}")
        return mail

    def check(self) -> None:
        """Render every message in every language with sample values, before the service starts.

        Raises:
            TemplateBroken: A template cannot be used, or no message is made from it.
        """
        for kind in MessageKind:
            for language in self._templates.languages:
                for samples in (_ALL_SAMPLES, _REQUIRED_SAMPLES):
                    self._check(kind, language, samples)
        for file in self._templates.unused("mail"):
            raise TemplateBroken(file, None, "no mail is made from it.")
        self._templates.log_untranslated()

    def _check(self, kind: MessageKind, language: str, samples: Mapping[str, str]) -> None:
        time = self._templates.format_time(_SAMPLE_TIME, language)
        values = self._values(kind, samples, language) | {"time": time}
        rendered = self._render(kind, language, values, self._templates.render_strictly)
        link = values.get("link", "")
        problems = {
            "subject.txt": "" if rendered.subject else "it is empty.",
            "txt": "" if link in rendered.text else "{{ link }} is not in it.",
            "html": "" if escape(link) in rendered.html else "{{ link }} is not in it.",
        }
        if _SAMPLE in rendered.html:
            problems["html"] = "a value is in it that is not escaped."
        for part, problem in problems.items():
            if problem:
                source = self._templates.source(f"mail/{kind}.{part}.j2", language)
                raise TemplateBroken(source.file, None, problem)

    def _render(
        self,
        kind: MessageKind,
        language: str,
        values: Mapping[str, str],
        render: Callable[..., str],
    ) -> _Rendered:
        # The subject gets no value that a user has written.
        subject = render(f"mail/{kind}.subject.txt.j2", language, host=self._host)
        subject = " ".join(subject.split())
        parts = (f"mail/{kind}.txt.j2", "mail/footer.txt.j2")
        text = "\n\n".join(render(part, language, **values).strip() for part in parts)
        html = render(f"mail/{kind}.html.j2", language, subject=subject, **values)
        return _Rendered(subject, text.strip() + "\n", html.strip() + "\n")

    def _values(
        self, kind: MessageKind, parameters: Mapping[str, str], language: str
    ) -> dict[str, str]:
        wanted = _KINDS[kind]
        shown = {name: parameters[name] for name in wanted.shown}
        shown |= {name: parameters.get(name, "") for name in wanted.optional}
        values = {
            name: value if name in _MADE_BY_THE_SERVICE else _defang(name, value)
            for name, value in shown.items()
        }
        for name in wanted.times:
            time = parameters.get(name)
            values[name] = (
                self._templates.format_time(datetime.fromisoformat(time), language) if time else ""
            )
        if wanted.page is not None:
            query = {name: parameters[parameter] for name, parameter in wanted.query.items()}
            values["link"] = self._link(wanted.page, query)
        if values.get("account"):
            values["release_link"] = self._link("/release-email", {"secret": parameters["secret"]})
        reset_link = f"{self._public_url}/reset-password"
        return values | {"host": self._host, "reset_link": reset_link}

    def _link(self, page: str, query: Mapping[str, str]) -> str:
        return f"{self._public_url}{page}?{urlencode(query, quote_via=quote)}"


def _defang(name: str, value: str) -> str:
    """Return a value that a user has chosen so that it is not taken for a text of the service.

    An attacker may have chosen it. It is on one line, since a line break would begin a paragraph of
    its own, too short for a message, and mail programs make no link of it:
    `https[:]//evil[.]example`.
    """
    line = " ".join(value.split())
    # An address has no spaces, and its reader has to know its end.
    if len(line) > _MAX_TEXT_OF_USERS and name != "new_address":
        line = line[:_MAX_TEXT_OF_USERS].rstrip() + "…"
    return _LINK.sub(r"[\g<0>]", line)


def _encoding(text: str) -> str:
    """Return the transfer encoding of a part: none if possible, since links are copied from files.

    Never base64, which Python might choose, and which spam filters count against a mail.
    """
    longest = max(map(len, text.splitlines()), default=0)
    return "7bit" if text.isascii() and longest <= _LONGEST_LINE else "quoted-printable"
