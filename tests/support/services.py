"""Variants of the service, by the names that rows use for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

from tests.support.service import ROOT, Service, started

__all__ = ["started_as"]

#: Policies of a maintenance window, so broad that each dialect refuses something. Two of them
#: forbid the same action, to show where a second notice appears. Secrets that would change an
#: address are still sent, so that rows have them.
_FREEZE = """
@id("freeze-passwords")
@notice("Passwords cannot be changed during the maintenance of 5 April.")
forbid (principal, action in Action::"me/auth:write", resource);

@id("freeze-tokens")
@notice("Access tokens cannot be regenerated during the maintenance of 5 April.")
forbid (principal, action in Action::"me/token:write", resource);

@id("freeze-profiles")
@notice("Profiles cannot be changed during the maintenance of 5 April.")
forbid (principal, action in Action::"me/profile:write", resource)
unless
{
    action in
        [Action::"hantera.requestEmailChange", Action::"scaikey.requestEmailVerification"]
};

@id("freeze-writing")
@notice("It ends at noon.")
forbid (
    principal,
    action in [Action::"me/token:write", Action::"me/profile:write"],
    resource
)
unless
{
    action in
        [Action::"hantera.requestEmailChange", Action::"scaikey.requestEmailVerification"]
};

@id("no-current-user")
forbid (principal, action == Action::"ipto.getCurrentUser", resource);
"""
_CLOSED = """
@id("no-logins")
@notice("Logins are closed during the maintenance of 5 April.")
forbid (
    principal,
    action in
        [Action::"ipto.logIn", Action::"ipto.requestPasswordReset", Action::"oauth.issueToken"],
    resource
);
"""


@contextmanager
def started_as(name: str | None, folder: Path, **more: object) -> Iterator[Service]:
    """Start the variant of this name; None is the default one, with cheap hashes.

    `closed` rejects signups, by a policy logins, and authentications that are not recent. `frozen`
    has additional policies. `scarce` has small rate limits, behind a proxy that forwards client
    addresses: each of its rows uses its own address, so that none exhausts another's limit.
    `fuzzed` has practically no rate limits.
    """
    settings: dict[str, object] = {}
    if name == "closed":
        settings = {"signup": "closed", "policy_dir": _policies(folder, _CLOSED)}
        settings["recent_authentication"] = "always"
    elif name == "frozen":
        settings = {"policy_dir": _policies(folder, _FREEZE)}
    elif name == "scarce":
        budgets = {"signup": "20/3600", "account": "2/3600", "source": "4/600", "mail": "5/3600"}
        budgets["write"] = "2/3600"
        settings = {f"throttle_{budget}": rate for budget, rate in budgets.items()}
        settings["trusted_proxies"] = "127.0.0.1"
    elif name == "fuzzed":
        budgets = ("account", "account_source", "source", "signup", "mail", "write")
        settings = {f"throttle_{budget}": "1000000/1" for budget in budgets}
    with started(folder, **{**settings, **more}) as running:
        yield running


def _policies(folder: Path, more: str) -> Path:
    """Copy the default policies, and add others."""
    policies = copytree(ROOT / "policies", folder / "policies")
    (policies / "more.cedar").write_text(more)
    return policies
