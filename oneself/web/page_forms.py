"""Views and actions of the pages that mailed links open."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from accounts.errors import (
    AccountError,
    Forbidden,
    Invalid,
    InvalidRequest,
    SecretExpired,
    SecretInvalid,
    SecretSuperseded,
    SecretUsed,
    TooManyAttempts,
    WrongCode,
)
from accounts.flows.deletion.account_deletion import restore_account
from accounts.flows.email.address_release import (
    ClaimingAccount,
    identify_claimant,
    read_claim,
    release_address,
)
from accounts.flows.email.email_change import undo_email_change, validate_email_change
from accounts.flows.email.email_verification import confirm_email, resend_verification
from accounts.flows.password.password_reset import request_password_reset, reset_password
from accounts.services.database import AccountSession
from accounts.services.one_time_secrets import SecretPurpose, find_secret, read_secret
from accounts.services.user_views import find_user_view
from handlers.errors import CrossSiteRequest
from handlers.problem_details import PROBLEM_DETAILS
from oneself.http.response.error_handler import headers_of_refusal, status_of

Fields = Mapping[str, str]

#: Pages use the statuses of unknown paths.
_DIALECT = PROBLEM_DETAILS
_UNUSABLE = (SecretInvalid, SecretUsed, SecretExpired, SecretSuperseded)
_AGAIN = "again"
_NUMBER = re.compile("[0-9]+")


class View(NamedTuple):
    """A template of `templates/pages`, its values, and the status and headers of the response."""

    template: str
    values: Mapping[str, object] = {}
    status: int = 200
    code: str | None = None
    headers: Mapping[str, str] = {}


class BrokenRule(NamedTuple):
    """A rule that the input breaks, with `#` in the place of its `number`."""

    rule: str
    number: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page: `show` only reads, and `submit` is the action of its button.

    `parameters` are the parameters of its links, and `fields` those that its forms may send.
    `action_of` returns the action of a form in the policies: the operation of the document that
    does the same, if there is one, so that a policy about it governs the page as well.
    """

    name: str
    operation_id: str
    purpose: SecretPurpose
    parameters: frozenset[str]
    fields: frozenset[str]
    show: Callable[[AccountSession, Fields], View]
    submit: Callable[[AccountSession, Fields], View]
    action_of: Callable[[Fields], str]


def refuse(
    refusal: AccountError, page: Page, fields: Fields, *, shown: View | None, request_id: str
) -> View:
    """Return the view that explains a refusal.

    `shown` is the view before the form was submitted: if a field broke a rule, it is shown again
    with the broken rules.
    """
    status = status_of(refusal, _DIALECT)
    headers = headers_of_refusal(refusal, _DIALECT, bearer_was_sent=False, issuer="")
    template = "refused"
    values: dict[str, object] = {
        "reason": refusal.code,
        "request_id": request_id,
        "minutes": 0,
        "notices": (),
    }
    if isinstance(refusal, _UNUSABLE):
        template = "link_over"
        # Only an existing secret is written into a page.
        is_known = not isinstance(refusal, SecretInvalid)
        values = {
            "page": page.name,
            "reason": refusal.code,
            "secret": fields["secret"] if is_known else "",
            "email": "",
            "broken": (),
        }
    elif isinstance(refusal, TooManyAttempts):
        values["minutes"] = max(1, math.ceil(refusal.retry_after / 60))
    elif isinstance(refusal, Forbidden) and not isinstance(refusal, CrossSiteRequest):
        values |= {"reason": "policy_denied", "notices": refusal.notices}
    elif isinstance(refusal, WrongCode) and shown is not None:
        template, values = shown.template, {**shown.values, "is_wrong_code": True}
    elif isinstance(refusal, Invalid) and shown is not None and "broken" in shown.values:
        template, values = shown.template, {**shown.values, "broken": _broken_rules(refusal)}
    return View(template, values, status, refusal.code, headers)


def _broken_rules(refusal: Invalid) -> tuple[BrokenRule, ...]:
    return tuple(
        BrokenRule(_NUMBER.sub("#", violation.rule), "".join(_NUMBER.findall(violation.rule)))
        for violation in refusal.violations
    )


def _account(claimant: ClaimingAccount | None) -> Mapping[str, object]:
    """Return the values that name the account on a page; empty if the address is its own."""
    if claimant is None:
        return {"account": ""}
    address, name, opened_at = claimant
    return {"account": address, "name": name, "opened_at": opened_at}


def _show_verification(session: AccountSession, fields: Fields) -> View:
    secret = fields.get("secret", "")
    if fields.get("action") == _AGAIN:
        # An expired secret is enough to request another mail to the same address.
        find_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
        return View("verify_email_again")
    pending = read_secret(session, SecretPurpose.EMAIL_VERIFICATION, secret)
    claimant = identify_claimant(session, pending)
    values = {"secret": secret, "address": pending.address, **_account(claimant)}
    return View("verify_email", values)


def _verify(session: AccountSession, fields: Fields) -> View:
    action, secret = fields.get("action"), fields.get("secret", "")
    if action == _AGAIN:
        resend_verification(session, secret)
        return View("verify_email_again")
    if action is not None:
        raise InvalidRequest.of("action", "must be a known one")
    confirm_email(session, secret)
    return View("verify_email_done")


def _show_change(session: AccountSession, fields: Fields) -> View:
    identity, secret = fields.get("identity", ""), fields.get("secret", "")
    pending = read_secret(session, SecretPurpose.EMAIL_CHANGE, secret)
    if find_user_view(session, pending.user_id).identity_id != identity.lower():
        raise SecretInvalid
    values = {"identity": identity, "secret": secret, "address": pending.address}
    return View("change_email", {**values, **_account(identify_claimant(session, pending))})


def _change(session: AccountSession, fields: Fields) -> View:
    user = validate_email_change(
        session, identity_id=fields.get("identity", ""), secret=fields.get("secret", "")
    )
    return View("change_email_done", {"address": user.email, "is_verified": user.email_verified})


def _show_undo(session: AccountSession, fields: Fields) -> View:
    secret = fields.get("secret", "")
    pending = read_secret(session, SecretPurpose.EMAIL_UNDO, secret)
    return View("undo_email_change", {"secret": secret, "address": pending.address})


def _undo(session: AccountSession, fields: Fields) -> View:
    address, secret = undo_email_change(session, fields.get("secret", ""))
    if secret is None:
        return View("undo_email_change_done", {"address": address})
    # In the form of the response, so that the secret gets into no URL.
    pending = read_secret(session, SecretPurpose.PASSWORD_RESET, secret)
    return _new_password(session, pending.user_id, address, secret, is_undone=True)


def _show_release(session: AccountSession, fields: Fields) -> View:
    secret = fields.get("secret", "")
    pending = read_claim(session, secret)
    claimant = identify_claimant(session, pending)
    values = {"secret": secret, "address": pending.address, **_account(claimant)}
    return View("release_email", values)


def _release(session: AccountSession, fields: Fields) -> View:
    release_address(session, fields.get("secret", ""))
    return View("release_email_done")


def _show_restoration(session: AccountSession, fields: Fields) -> View:
    secret = fields.get("secret", "")
    pending = read_secret(session, SecretPurpose.ACCOUNT_RESTORATION, secret)
    values = {"secret": secret, "address": pending.address, "until": pending.expires_at}
    return View("restore_account", values)


def _restore(session: AccountSession, fields: Fields) -> View:
    user = restore_account(session, fields.get("secret", ""))
    return View("restore_account_done", {"address": user.email})


def _show_reset(session: AccountSession, fields: Fields) -> View:
    secret = fields.get("secret")
    if secret is None:
        return View("reset_request", {"email": fields.get("email", ""), "broken": ()})
    pending = read_secret(session, SecretPurpose.PASSWORD_RESET, secret)
    return _new_password(session, pending.user_id, pending.address, secret, is_undone=False)


def _new_password(
    session: AccountSession, user_id: str, address: str, secret: str, *, is_undone: bool
) -> View:
    return View(
        "reset_password",
        {
            "secret": secret,
            "address": address,
            "broken": (),
            "is_undone": is_undone,
            "needs_code": find_user_view(session, user_id).has_second_factor,
            "is_wrong_code": False,
        },
    )


def _reset(session: AccountSession, fields: Fields) -> View:
    secret = fields.get("secret")
    if secret is None:
        request_password_reset(session, fields.get("email", ""))
        return View("reset_requested")
    new, code = fields.get("new_password", ""), fields.get("code")
    reset_password(session, secret=secret, new=new, code=code)
    return View("reset_password_done")


#: The pages by their paths. Links in mail contain the paths, so they must not change.
PAGES: Mapping[str, Page] = {
    "/verify-email": Page(
        "verify_email",
        "page.verifyEmail",
        SecretPurpose.EMAIL_VERIFICATION,
        frozenset({"secret"}),
        frozenset({"secret", "action"}),
        _show_verification,
        _verify,
        lambda _: "scaikey.confirmEmailVerification",
    ),
    "/change-email": Page(
        "change_email",
        "page.changeEmail",
        SecretPurpose.EMAIL_CHANGE,
        frozenset({"identity", "secret"}),
        frozenset({"identity", "secret"}),
        _show_change,
        _change,
        lambda _: "hantera.validateEmailChange",
    ),
    "/undo-email-change": Page(
        "undo_email_change",
        "page.undoEmailChange",
        SecretPurpose.EMAIL_UNDO,
        frozenset({"secret"}),
        frozenset({"secret"}),
        _show_undo,
        _undo,
        lambda _: "hantera.undoEmailChange",
    ),
    "/release-email": Page(
        "release_email",
        "page.releaseEmail",
        SecretPurpose.EMAIL_VERIFICATION,
        frozenset({"secret"}),
        frozenset({"secret"}),
        _show_release,
        _release,
        lambda _: "scaikey.releaseEmail",
    ),
    "/reset-password": Page(
        "reset_password",
        "page.resetPassword",
        SecretPurpose.PASSWORD_RESET,
        frozenset({"secret"}),
        frozenset({"secret", "email", "new_password", "code"}),
        _show_reset,
        _reset,
        lambda fields: "ipto.resetPassword" if "secret" in fields else "ipto.requestPasswordReset",
    ),
    "/restore": Page(
        "restore_account",
        "page.restoreAccount",
        SecretPurpose.ACCOUNT_RESTORATION,
        frozenset({"secret"}),
        frozenset({"secret"}),
        _show_restoration,
        _restore,
        lambda _: "ipto.restoreAccount",
    ),
}
