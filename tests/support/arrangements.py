"""The services that rows are asked of: the usual one, and what some operators would have."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

from tests.support.service import ROOT, Service, started

__all__ = ["arranged"]

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
#: Small budgets behind a proxy that tells who asks: each row there asks from addresses of its own.
_BUDGETS = {"signup": "1/3600", "account": "2/3600", "source": "4/600", "mail": "5/3600"}


@contextmanager
def arranged(name: str | None, folder: Path, **settings: object) -> Iterator[Service]:
    """Start the service that rows call `closed`, `frozen` or `scarce`; None is the usual one.

    Raises:
        KeyError: No row may ask for a service of this name.
    """
    if name == "frozen":
        policies = copytree(ROOT / "policies", folder / "policies")
        (policies / "freeze.cedar").write_text(_FREEZE)
        settings["policy_dir"] = policies
    usual = {
        None: {},
        "closed": {"signup": "closed"},
        "frozen": {},
        "scarce": {
            "trusted_proxies": "127.0.0.1",
            **{f"throttle_{budget}": size for budget, size in _BUDGETS.items()},
        },
    }
    with started(folder, **{**usual[name], **settings}) as running:
        yield running
