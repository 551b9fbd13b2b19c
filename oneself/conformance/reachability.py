"""Connection check before the tests, so that they do not all fail for one reason."""

import ssl
from http.client import HTTPException
from socket import gaierror

from oneself.conformance.deployment import Deployment
from oneself.conformance.http_client import Request

__all__ = ["find_connection_problem"]

_PROBE_REQUEST = Request("GET", "/healthz")


def find_connection_problem(deployment: Deployment) -> str | None:
    """Send one request, and return why there is no HTTP response, or None if there is one."""
    try:
        deployment.ask(_PROBE_REQUEST)
    except (OSError, HTTPException, UnicodeError) as error:
        return _describe(error)
    return None


def _describe(error: Exception) -> str:  # noqa: PLR0911 # a flat list of errors
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); SSL_CERT_FILE can name other"
            " roots"
        )
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS; addresses without TLS begin with http://"
    if isinstance(error, gaierror | UnicodeError):
        return "the host does not exist"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused"
    if isinstance(error, TimeoutError):
        return "the connection timed out"
    if isinstance(error, HTTPException | ConnectionError):
        # A TLS server closes plain HTTP connections, or responds with TLS.
        return "the server does not respond in HTTP; addresses with TLS begin with https://"
    return str(getattr(error, "strerror", None) or type(error).__name__)
