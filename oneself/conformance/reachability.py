"""Whether a deployment is there at all, before all promises are found broken for one reason."""

import ssl
from http.client import HTTPException
from socket import gaierror

from oneself.conformance.deployment import Deployment
from oneself.conformance.http_client import Request

__all__ = ["find_connection_problem"]

_ANYTHING = Request("GET", "/healthz")


def find_connection_problem(deployment: Deployment) -> str | None:
    """Ask it once, and say why there is no answer; None for any answer, since all speak HTTP."""
    try:
        deployment.ask(_ANYTHING)
    except (OSError, HTTPException, UnicodeError) as error:
        return _said_of(error)
    return None


def _said_of(error: Exception) -> str:  # noqa: PLR0911 # one error after the other
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); SSL_CERT_FILE can name other"
            " roots"
        )
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS there, and an address without TLS begins with http://"
    if isinstance(error, gaierror | UnicodeError):
        return "there is no host of that name"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, TimeoutError):
        return "there is no answer in time"
    if isinstance(error, HTTPException | ConnectionError):
        # A server of TLS hangs up on plain HTTP, or answers with what is none.
        return (
            "what listens there gives no answer of HTTP; an address with TLS begins with https://"
        )
    return str(getattr(error, "strerror", None) or type(error).__name__)
