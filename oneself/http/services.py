"""What every operation runs with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oneself.database import Database
from oneself.http.request.upload_limits import UploadLimits
from oneself.runtime.credential_usage import UsageRecorder
from oneself.runtime.policy_store import PolicyStore
from oneself.runtime.signing_keys import SigningKeys
from oneself.runtime.thread_pools import Pool
from oneself.settings_parsers import Network

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The service around its operations, made once at its start."""

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
    check_responses: bool
