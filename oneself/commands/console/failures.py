"""Errors of commands: a short message instead of a traceback, never with a secret value."""

import errno

from accounts.errors import AccountError, EmailTaken, Invalid

__all__ = ["REFUSED", "USAGE", "Failure", "explain"]

REFUSED = 1
USAGE = 2


class Failure(Exception):
    """Ends a command with the exit status `status`; the message says why, then what to do."""

    def __init__(self, message: str, *, status: int = REFUSED) -> None:
        super().__init__(message)
        self.status = status


def explain(error: Exception) -> Failure | None:
    """Describe an error that an operator can fix; return None for a defect."""
    if isinstance(error, Failure):
        return error
    message = _describe(error)
    return Failure(message, status=_status_of(error)) if message else None


def _status_of(error: Exception) -> int:
    """Return USAGE for an invalid setting that was only noticed when it was used."""
    if isinstance(error, AccountError | OSError):
        return REFUSED
    from oneself.runtime.key_file import BadSecretSetting  # loaded already if it was raised
    from oneself.runtime.policy_store import NoPolicyFolder
    from oneself.templating import NoTemplateFolder

    problem = (BadSecretSetting, NoPolicyFolder, NoTemplateFolder)
    return USAGE if isinstance(error, problem) else REFUSED


def _describe(error: Exception) -> str | None:  # noqa: PLR0911 # one return for each kind of error
    if isinstance(error, AccountError):
        return _explain_refusal(error)
    if isinstance(error, OSError):
        return _explain_os_error(error)
    # If one of these errors was raised, its module is loaded already.
    from sqlalchemy.exc import DBAPIError

    from accounts.crypto.keyring import SealBroken
    from accounts.services.policies import InvalidPolicies
    from oneself.runtime.key_file import BadSecretKey, UnknownRootKey
    from oneself.runtime.policy_store import NoPolicyFolder
    from oneself.templating import NoTemplateFolder, TemplateBroken

    if isinstance(error, BadSecretKey | UnknownRootKey):
        return str(error)
    if isinstance(error, NoPolicyFolder | NoTemplateFolder):
        return f"{error} Correct the setting, and run the command again."
    if isinstance(error, TemplateBroken):
        return f"{error} Correct the template, or delete it to use the built-in one."
    if isinstance(error, InvalidPolicies):
        return f"{error} Correct the policies, and check them with: python -m oneself policy check"
    if isinstance(error, SealBroken):
        return f"{error} Restore the row from a backup, or create the account again."
    if isinstance(error, DBAPIError):
        answer = " ".join(str(error.orig).split()).rstrip(".?")
        return (
            f"The database reported: {answer}. Check that its file is intact, writable and not"
            " locked by another program, or that its server runs and accepts the user and the"
            " password in ONESELF_DATABASE_URL; then run the command again."
        )
    return None


def _explain_os_error(error: OSError) -> str | None:
    if error.filename is None:
        return None
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{error.filename}: {error.strerror}. Free some space, and run the command again."
    return (
        f"{error.filename}: {error.strerror}. Check the permissions, and whether"
        " ONESELF_DATA_DIR and ONESELF_DATABASE_URL name the right place."
    )


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
