"""Refusals that handlers raise, and the kind that the dialects know by its own name.

The tree, below that of `accounts.errors`::

    AccountError
    ├── Malformed                    the request cannot be read
    ├── Forbidden
    │   └── CrossSiteRequest         cross_site_request
    └── PreconditionFailed           precondition_failed
"""

from accounts.errors import AccountError, Forbidden


class Malformed(AccountError):
    """The request cannot be read at all; `rule` says why, where the class does not."""

    def __init__(self, rule: str | None = None) -> None:
        super().__init__()
        if rule is not None:
            self.args = (f"{self.message[:-1]}: {rule}.",)


class CrossSiteRequest(Forbidden):
    """A cookie would authenticate a request that another site may have made (SE-09)."""

    code = "cross_site_request"
    message = "A session cookie is accepted from the same origin only."


class PreconditionFailed(AccountError):
    """The resource changed after the client read it (RFC 9110 section 15.5.13)."""

    code = "precondition_failed"
    message = "The resource does not match If-Match; read it again."
