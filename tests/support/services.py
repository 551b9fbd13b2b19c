"""The services that rows are asked of, by the name that a row has for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

from tests.support.service import ROOT, Service, started

__all__ = ["started_as"]

#: What an operator would write for a time in which little may be changed, so much that each
#: dialect refuses something by it. Two of them forbid the same, to show where a second notice goes.
_FREEZE = """
@id("freeze-passwords")
@notice("Passwords cannot be changed during the maintenance of 5 April.")
forbid (principal, action in Action::"me/auth:write", resource);

@id("freeze-tokens")
@notice("Access tokens cannot be regenerated during the maintenance of 5 April.")
forbid (principal, action in Action::"me/token:write", resource);

@id("freeze-profiles")
@notice("Profiles cannot be changed during the maintenance of 5 April.")
forbid (principal, action in Action::"me/profile:write", resource);

@id("freeze-writing")
@notice("It ends at noon.")
forbid (
    principal,
    action in [Action::"me/token:write", Action::"me/profile:write"],
    resource
);

@id("no-current-user")
forbid (principal, action == Action::"ipto.getCurrentUser", resource);
"""


@contextmanager
def started_as(name: str | None, folder: Path, **more: object) -> Iterator[Service]:
    """Start the service of this name: one set up by default, but with cheap hashes, for None.

    `closed` is that of an operator who lets nobody sign up, `frozen` of one who has added policies
    of their own, and `scarce` of one with small budgets, behind a proxy that tells who asks: its
    rows ask from addresses of their own, so that none uses up what another counts on. `fuzzed` has
    no budgets to speak of.
    """
    settings: dict[str, object] = {}
    if name == "closed":
        settings = {"signup": "closed"}
    elif name == "frozen":
        policies = copytree(ROOT / "policies", folder / "policies")
        (policies / "freeze.cedar").write_text(_FREEZE)
        settings = {"policy_dir": policies}
    elif name == "scarce":
        budgets = {"signup": "1/3600", "account": "2/3600", "source": "4/600", "mail": "5/3600"}
        settings = {f"throttle_{budget}": rate for budget, rate in budgets.items()}
        settings["trusted_proxies"] = "127.0.0.1"
    elif name == "fuzzed":
        budgets = ("account", "account_source", "source", "signup", "mail")
        settings = {f"throttle_{budget}": "1000000/1" for budget in budgets}
    with started(folder, **{**settings, **more}) as running:
        yield running
