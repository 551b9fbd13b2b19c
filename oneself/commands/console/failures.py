"""What a command says when it cannot be done: one sentence, and never a traceback or a value."""

import errno

from accounts.errors import AccountError, EmailTaken, Invalid

__all__ = ["REFUSED", "USAGE", "Failure", "explain"]

REFUSED = 1
USAGE = 2


class Failure(Exception):
    """A command that ends here; the message says why and what to do, `status` is the exit's."""

    def __init__(self, sentence: str, *, status: int = REFUSED) -> None:
        super().__init__(sentence)
        self.status = status


def explain(error: Exception) -> Failure | None:
    """Put an error that an operator can do something about into words; None for a defect."""
    if isinstance(error, Failure):
        return error
    sentence = _sentence(error)
    return Failure(sentence, status=_status(error)) if sentence else None


def _status(error: Exception) -> int:
    """That of a setting that is wrong, where only the use of it has shown that."""
    if isinstance(error, AccountError | OSError):
        return REFUSED
    from oneself.runtime.key_file import BadSecretSetting  # loaded by whoever raised it
    from oneself.runtime.policy_store import NoPolicyFolder
    from oneself.templating import NoTemplateFolder

    problem = (BadSecretSetting, NoPolicyFolder, NoTemplateFolder)
    return USAGE if isinstance(error, problem) else REFUSED


def _sentence(error: Exception) -> str | None:  # noqa: PLR0911 # one error after the other
    if isinstance(error, AccountError):
        return _refusal(error)
    if isinstance(error, OSError):
        return _trouble_with_a_file(error)
    # Whatever else is ours to explain has loaded these already.
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
        return f"{error} Correct it, or take it away: the text of this version is used then."
    if isinstance(error, InvalidPolicies):
        return f"{error} Correct the policies, and try them with: python -m oneself policy check"
    if isinstance(error, SealBroken):
        return f"{error} Restore the row from a backup, or make the account anew."
    if isinstance(error, DBAPIError):
        answer = " ".join(str(error.orig).split()).rstrip(".?")
        return (
            f"The database answered: {answer}. Check that its file is whole and writable and that"
            " nothing else holds it, or that its server runs and takes the user and the password of"
            " ONESELF_DATABASE_URL, and run the command again."
        )
    return None


def _trouble_with_a_file(error: OSError) -> str | None:
    if error.filename is None:
        return None
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{error.filename}: {error.strerror}. Make room there, and run the command again."
    return (
        f"{error.filename}: {error.strerror}. See who may read and write there, and whether"
        " ONESELF_DATA_DIR and ONESELF_DATABASE_URL name the right place."
    )


def _refusal(error: AccountError) -> str:
    if isinstance(error, Invalid):
        limits = "; ".join(
            f"{'/'.join(map(str, broken.field))} {broken.rule}" for broken in error.violations
        )
        return f"{limits}. Correct it, and run the command again."
    if isinstance(error, EmailTaken):
        return f"{error} Give another address."
    return str(error)
