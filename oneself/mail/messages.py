"""What the mail says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cache
from html import escape
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from accounts.services.outbox import Message, MessageKind
from accounts.values.email_address import parse_address
from oneself.templating import LANGUAGES, TemplateBroken, Templates

__all__ = ["Messages", "compose"]

# RFC 5322 section 2.1.1, without the line break.
_LONGEST_LINE = 998


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the templates of a kind of message are given.

    The link leads to a page, with parameters of the message under names in its query; the page
    needs no script to read them. Other parameters are shown as they are.
    """

    page: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()


_BY_SECRET = {"secret": "secret"}
_KINDS = {
    # The secret by itself too, since a program may have asked for the mail, and then for what is
    # in it (ScaiKey, POST /api/v1/me/verify-email/confirm).
    MessageKind.EMAIL_VERIFICATION: _Kind("/verify-email", _BY_SECRET, ("secret",)),
    MessageKind.EMAIL_CHANGE_CONFIRMATION: _Kind(
        "/change-email", {"identity": "identity_id", "secret": "secret"}
    ),
    MessageKind.EMAIL_CHANGE_NOTICE: _Kind("/undo-email-change", _BY_SECRET, ("new_address",)),
    MessageKind.EMAIL_ALREADY_IN_USE: _Kind(),
    MessageKind.PASSWORD_CHANGED: _Kind(),
    MessageKind.PASSWORD_RESET: _Kind("/reset-password", _BY_SECRET),
    MessageKind.API_KEY_CREATED: _Kind(shown=("name",)),
    MessageKind.PAT_CREATED: _Kind(shown=("name",)),
}

_PARTS = ("subject.txt", "txt", "html")

# With what has to be escaped, so that a template that does not is found out.
_SAMPLE = "<b title='sample'>&\"sample\"</b>"
_SAMPLES = dict.fromkeys(("secret", "identity_id", "new_address", "name"), _SAMPLE)


class _Written(NamedTuple):
    subject: str
    text: str
    html: str


class Messages:
    """Writes mail from templates. Links lead to the public address, and nowhere else (EM-12)."""

    def __init__(self, templates: Templates, *, public_url: str) -> None:
        """`public_url` is the operator's setting; nothing of a request comes here."""
        host = urlsplit(public_url).hostname or "localhost"
        self._templates = templates
        self._public_url = public_url.rstrip("/")
        self._host = f"[{host}]" if ":" in host else host

    def compose(self, message: Message, parameters: Mapping[str, str]) -> EmailMessage:
        """A message of the outbox as mail, in the language of its reader.

        Composed again it is the same, byte for byte, so that what is sent twice is one mail
        (EM-18). Addresses are built as objects, so nothing can be injected into the head (EM-15).

        Raises:
            ValueError: This version knows no such kind.
            KeyError: A parameter is missing.
            accounts.errors.InvalidRequest: The recipient is not an e-mail address.
        """
        kind = MessageKind(message.kind)
        language = self._language(kind, message.locale)
        written = self._write(kind, language, parameters, self._templates.render)
        local, _, domain = parse_address(message.recipient).mailbox.rpartition("@")
        mail = EmailMessage()
        mail["From"] = Address("oneself", "no-reply", self._host)
        mail["To"] = Address(username=local, domain=domain)
        mail["Subject"] = written.subject
        mail["Date"] = format_datetime(message.created_at)
        mail["Message-ID"] = f"<{message.id}@{self._host}>"
        # RFC 3834: no vacation reply is to answer this.
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(written.text, cte=_encoding(written.text))
        mail.add_alternative(written.html, subtype="html", cte=_encoding(written.html))
        # Not earlier: what begins with Content- would be moved to the first part.
        mail["Content-Language"] = language
        # Python's own is made up each time. This one stands in no text: ids are not known before.
        mail.set_boundary(f"=_{message.id}")
        return mail

    def check(self) -> None:
        """Write every message in every language from samples: once, before the service starts.

        Raises:
            TemplateBroken: A template cannot be used, or no message is made from it.
        """
        for kind in MessageKind:
            for language in LANGUAGES:
                self._check(kind, self._language(kind, language))
        for file in self._templates.unused("mail"):
            raise TemplateBroken(file, None, "no mail is made from it.")

    def _check(self, kind: MessageKind, language: str) -> None:
        written = self._write(kind, language, _SAMPLES, self._templates.render_strictly)
        link = self._values(kind, _SAMPLES).get("link", "")
        problems = {
            "subject.txt": "" if written.subject else "it is empty.",
            "txt": "" if link in written.text else "{{ link }} is not in it.",
            "html": "" if escape(link) in written.html else "{{ link }} is not in it.",
        }
        if _SAMPLE in written.html:
            problems["html"] = "a value is in it that is not escaped."
        for part, problem in problems.items():
            if problem:
                source = self._templates.source(f"mail/{kind}.{part}.j2", language)
                raise TemplateBroken(source.file, None, problem)

    def _language(self, kind: MessageKind, locale: str | None) -> str:
        """The language of all parts of a message: English, if an operator has one in English only.

        Else one part would be in English beside another in the language of the reader.
        """
        language = self._templates.language(locale)
        names = [f"mail/{kind}.{part}.j2" for part in _PARTS]
        found = {self._templates.source(name, language).language for name in names}
        return language if found == {language} else LANGUAGES[0]

    def _write(
        self,
        kind: MessageKind,
        language: str,
        parameters: Mapping[str, str],
        render: Callable[..., str],
    ) -> _Written:
        values = self._values(kind, parameters)
        # The subject is given nothing that a person has written.
        subject = render(f"mail/{kind}.subject.txt.j2", language, host=self._host)
        subject = " ".join(subject.split())
        text = render(f"mail/{kind}.txt.j2", language, **values)
        html = render(f"mail/{kind}.html.j2", language, subject=subject, **values)
        return _Written(subject, text.strip() + "\n", html.strip() + "\n")

    def _values(self, kind: MessageKind, parameters: Mapping[str, str]) -> Mapping[str, str]:
        given = _KINDS[kind]
        # On one line each: a line break in a name would be the start of a text of its own.
        values = {name: " ".join(parameters[name].splitlines()) for name in given.shown}
        if given.page is not None:
            query = {name: parameters[parameter] for name, parameter in given.query.items()}
            link = f"{self._public_url}{given.page}?{urlencode(query, quote_via=quote)}"
            values["link"] = link
        return values | {"host": self._host}


@cache
def _shipped() -> Templates:
    return Templates()


def compose(message: Message, parameters: Mapping[str, str], *, public_url: str) -> EmailMessage:
    """A message of the outbox as mail, in our own words.

    Raises:
        ValueError, KeyError, accounts.errors.InvalidRequest: As `Messages.compose`.
    """
    return Messages(_shipped(), public_url=public_url).compose(message, parameters)


def _encoding(text: str) -> str:
    """How a part is encoded: not at all if that can be, since links are copied out of files.

    Never in base64, which Python might choose, and which counts against a mail as a disguise.
    """
    longest = max(map(len, text.splitlines()), default=0)
    return "7bit" if text.isascii() and longest <= _LONGEST_LINE else "quoted-printable"
