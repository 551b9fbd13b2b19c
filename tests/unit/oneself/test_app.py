"""Settings reach the parts of the application that they are for."""

from oneself.conformance.http_client import Request
from tests.support.in_process import InProcess


def test_settings_reach_the_reference_and_the_headers(location, tmp_path):
    """HT-15, HT-23, attack finding 22: no reference, and https for all subdomains."""
    settings = {"docs": "false", "hsts_subdomains": "true"}
    application = InProcess(tmp_path, location, **settings)
    page = application.ask(Request("GET", "/docs"))
    assert page.status == 404
    assert page.values("strict-transport-security") == ["max-age=31536000; includeSubDomains"]
    application.close()
