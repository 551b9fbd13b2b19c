"""Errors of commands: a short message instead of a traceback, never with a secret value."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from accounts.errors import AccountError, EmailTaken, Invalid, NotFound

REFUSED = 1
USAGE = 2


class Failure(Exception):
    """Ends a command with the exit status `status`; the message says why, then what to do."""

    def __init__(self, message: str, *, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def explain_missing(message: str) -> Iterator[None]:
    """Turn a NotFound, which has no details, into a failure with this message."""
    try:
        yield
    except NotFound:
        raise Failure(message) from None


def explain(error: Exception) -> Failure | None:
    """Describe an error that an operator can fix; return None for a defect."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, AccountError):
        message = _explain_refusal(error)
        return Failure(message) if message else None
    if isinstance(error, OSError):
        return _explain_os_error(error)
    # If one of these errors was raised, its module is loaded already.
    from sqlalchemy.exc import DBAPIError

    from accounts.crypto.keyring import SealBroken
    from accounts.services.policies.policy_set import InvalidPolicies
    from oneself.runtime.key_file import BadSecretKey, BadSecretSetting, UnknownRootKey
    from oneself.runtime.policy_store import NoPolicyFolder
    from oneself.templating import NoTemplateFolder, TemplateBroken

    if isinstance(error, DBAPIError):
        return _explain_database_error(error.orig)
    # What to do, by the class of the error; a subclass comes before its base.
    explained: dict[type[Exception], str] = {
        BadSecretKey: "",
        UnknownRootKey: "",
        NoPolicyFolder: " Correct the setting, and run the command again.",
        NoTemplateFolder: " Correct the setting, and run the command again.",
        TemplateBroken: " Correct the template, or delete it to use the built-in one.",
        InvalidPolicies: (
            " Correct the policies, and check them with: python -m oneself policy check"
        ),
        SealBroken: " Restore the row from a backup, or create the account again.",
    }
    # These are invalid settings that were only noticed when they were used.
    is_setting = isinstance(error, BadSecretSetting | NoPolicyFolder | NoTemplateFolder)
    for kind, to_do in explained.items():
        if isinstance(error, kind):
            return Failure(f"{error}{to_do}", status=USAGE if is_setting else REFUSED)
    return None


def _explain_database_error(reason: BaseException | None) -> Failure:
    answer = " ".join(str(reason).split()).rstrip(".?")
    return Failure(
        f"The database reported: {answer}. Check that its file is intact, writable and not locked"
        " by another program, or that its server runs and accepts the user and the password in"
        " ONESELF_DATABASE_URL; then run the command again."
    )


def _explain_os_error(error: OSError) -> Failure | None:
    if error.filename is None:
        return None
    to_do = (
        "Free some space, and run the command again."
        if error.errno in {errno.ENOSPC, errno.EDQUOT}
        else "Check the permissions, and whether ONESELF_DATA_DIR and ONESELF_DATABASE_URL name the"
        " right place."
    )
    return Failure(f"{error.filename}: {error.strerror}. {to_do}")


def _explain_refusal(error: AccountError) -> str:
    if isinstance(error, Invalid):
        rules: dict[str, list[str]] = {}
        for violation in error.violations:
            field = "/".join(map(str, violation.field)).replace("_", " ")
            rules.setdefault(field, []).append(violation.rule)
        text = "; ".join(f"{field} {', '.join(broken)}" for field, broken in rules.items())
        return f"{text[0].upper()}{text[1:]}. Correct it, and run the command again."
    if isinstance(error, EmailTaken):
        return f"{error} Use another address."
    return str(error)
