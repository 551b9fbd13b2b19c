"""Connection check before the tests, so that they do not all fail for one reason."""

import ssl
from collections.abc import Mapping
from dataclasses import replace
from http.client import HTTPException
from socket import gaierror

from oneself_conformance.http_client import Request
from oneself_conformance.targets import Deployment

#: A service that is down is found out at once.
_SECONDS = 4
_PROBE_REQUEST = Request("GET", "/healthz")
_NO_HTTP = "the server does not respond in HTTP; addresses with TLS begin with https://"
#: The first kind that fits an error describes it.
_PROBLEMS: Mapping[type[Exception], str] = {
    ssl.SSLError: "it does not speak TLS; addresses without TLS begin with http://",
    gaierror: "the host does not exist",
    UnicodeError: "the host does not exist",
    ConnectionRefusedError: "the connection is refused",
    TimeoutError: "the connection timed out",
    # A TLS server closes plain HTTP connections, or responds with TLS.
    HTTPException: _NO_HTTP,
    ConnectionError: _NO_HTTP,
}


def find_connection_problem(deployment: Deployment) -> str | None:
    """Send one request, and return why there is no HTTP response, or None if there is one."""
    try:
        seconds = min(deployment.timeout, _SECONDS)
        replace(deployment, timeout=seconds, is_strict=True).ask(_PROBE_REQUEST)
    except (OSError, HTTPException, UnicodeError) as error:
        return _describe(error)
    return None


def _describe(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); SSL_CERT_FILE can name other"
            " roots"
        )
    for kind, problem in _PROBLEMS.items():
        if isinstance(error, kind):
            return problem
    return str(getattr(error, "strerror", None) or type(error).__name__)
