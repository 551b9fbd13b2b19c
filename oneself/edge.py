"""What every operation runs with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oneself.large_bodies import LargeBodies
from oneself.policies import PolicyStore
from oneself.setting_values import Network
from oneself.signing import SigningKeys
from oneself.transactions import Database
from oneself.usage import UsageRecorder
from oneself.workloads import Pool

__all__ = ["Edge"]


@dataclass(frozen=True, slots=True)
class Edge:
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
    large_bodies: LargeBodies
    picture_bytes: int
    body_seconds: float
    check_responses: bool
