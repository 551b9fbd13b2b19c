"""Hyperclast: an access token is shown, used and regenerated."""

import pytest
from oneself_client import Oneself, errors

from tests.sdk.new_user import NewUser


def test_access_token_is_shown_used_and_regenerated(new_user: NewUser) -> None:
    with Oneself(new_user.url, token=new_user.session) as me:
        user = me.hyperclast.get_current_user()
        assert (user.email, user.is_authenticated) == (new_user.email, True)
        token = me.hyperclast.get_access_token().access_token
        assert token == user.access_token

        program = me.using(token=token)
        assert program.hyperclast.get_current_user().external_id == user.external_id
        fresh = program.hyperclast.regenerate_access_token().access_token
        with pytest.raises(errors.InvalidToken) as ended:
            program.hyperclast.get_access_token()
        assert ended.value.body["error"] == "invalid_token"
        assert me.using(token=fresh).hyperclast.get_access_token().access_token == fresh
