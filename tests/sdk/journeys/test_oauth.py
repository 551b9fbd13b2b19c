"""OAuth: a session is exchanged for a JWT with fewer scopes, which others introspect."""

import pytest
from oneself_client import Oneself, errors

from tests.sdk.new_user import NewUser


def test_session_is_exchanged_for_a_jwt(new_user: NewUser) -> None:
    client = (new_user.client_id, new_user.client_secret)
    with Oneself(new_user.url, client=client) as program:
        tokens = program.oauth.issue_token(
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=new_user.session,
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",
            scope="me/profile:read",
        )
        assert (tokens.token_type, tokens.scope) == ("Bearer", "me/profile:read")
        user = program.using(token=lambda: tokens.access_token)
        assert user.scaikey.get_profile().email == new_user.email
        with pytest.raises(errors.InsufficientScope):
            user.scaikey.update_profile(first_name="Alice")

        response = program.oauth.introspect_token(token=tokens.access_token)
        assert (response.active, response.client_id) == (True, new_user.client_id)
        keys = program.oauth.get_key_set().keys
        assert {key.alg for key in keys} == {"RS256"}
        assert str(program.oauth.get_server_metadata().jwks_uri).endswith("/jwks.json")

        program.oauth.revoke_token(token=tokens.access_token)
        assert program.oauth.introspect_token(token=tokens.access_token).active is False
        with pytest.raises(errors.InvalidToken):
            user.scaikey.get_profile()


def test_unknown_client_is_rejected(new_user: NewUser) -> None:
    with (
        Oneself(new_user.url, client=(new_user.client_id, "cls_wrong")) as program,
        pytest.raises(errors.InvalidClient) as refused,
    ):
        program.oauth.introspect_token(token=new_user.session)
    assert refused.value.status == 401
