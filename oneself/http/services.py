"""The services that every operation runs with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accounts.crypto.jwts import KeySet
from accounts.services.database import AccountSession
from oneself.database import Database
from oneself.http.request.upload_limits import UploadLimits
from oneself.published_document import PublishedDocument
from oneself.runtime.credential_usage import UsageRecorder
from oneself.runtime.draining import is_draining
from oneself.runtime.policy_store import PolicyStore
from oneself.runtime.signing_keys import SigningKeys
from oneself.runtime.thread_pools import Pool
from oneself.settings_parsers import Network


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the service that operations use, made once at its start.

    It is the `Service` of the handlers' contexts.
    """

    document: PublishedDocument
    database: Database
    usage: UsageRecorder
    signing: SigningKeys
    policies: PolicyStore
    pools: Mapping[str, Pool]
    origins: frozenset[str]
    issuer: str
    proxies: Sequence[Network]
    api_key_brand: str
    body_bytes: int
    upload_limits: UploadLimits
    picture_bytes: int
    body_seconds: float
    always_recent_authentication: bool
    check_responses: bool

    @property
    def key_set(self) -> KeySet:
        """The keys that JWTs are signed and verified with."""
        return self.signing.current

    def find_document(self, path: str) -> bytes | None:
        """Return the OpenAPI document in the version that a path serves, or None."""
        return self.document.find(path)

    def find_degradation(self, session: AccountSession) -> str | None:
        """Return why an operator should look, although requests are answered; None if all is well.

        The service runs on older policies, because the newest are invalid, or serves only reads.
        """
        if self.policies.degraded:
            return "the policies are invalid"
        return self.database.find_degradation(session)

    @property
    def unready_reason(self) -> str | None:
        """Tell why no change can be stored, if that is known before one is tried."""
        return self.database.unready_reason()

    @property
    def is_draining(self) -> bool:
        """Tell whether the service is about to shut down."""
        return is_draining()
