"""The logins of Hyperclast's web application."""

from unittest.mock import Mock

import pytest

from handlers import hyperclast
from handlers.context import DatabaseContext
from handlers.errors import CrossSiteRequest
from handlers.exchange import Exchange


@pytest.mark.parametrize("handler", [hyperclast.log_in_browser, hyperclast.sign_up_browser])
def test_request_of_another_site_is_rejected_before_anything_is_done(handler):
    """SE-09: otherwise another site could use up the visitor's attempts, and a hash."""
    session = Mock()
    exchange = Exchange(user_agent=None, same_origin=False, by_cookie=False)
    context = DatabaseContext(Mock(), lambda: exchange, session)
    with pytest.raises(CrossSiteRequest):
        handler(context, {"email": "alice@example.com", "password": "s3cur3P@ssw0rd!"})
    assert session.mock_calls == []
