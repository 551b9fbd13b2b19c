"""OAuth: a session becomes a JWT of fewer rights, which others can ask about."""

import pytest
from oneself_client import Oneself, errors

from tests.sdk.newcomer import Newcomer


def test_a_session_is_exchanged_for_a_jwt(newcomer: Newcomer) -> None:
    client = (newcomer.client_id, newcomer.client_secret)
    with Oneself(newcomer.url, client=client) as program:
        tokens = program.oauth.issue_token(
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=newcomer.session,
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",
            scope="me/profile:read",
        )
        assert (tokens.token_type, tokens.scope) == ("Bearer", "me/profile:read")
        user = program.using(token=lambda: tokens.access_token)
        assert user.scaikey.get_profile().email == newcomer.email
        with pytest.raises(errors.InsufficientScope):
            user.scaikey.update_profile(first_name="Alice")

        told = program.oauth.introspect_token(token=tokens.access_token)
        assert (told.active, told.client_id) == (True, newcomer.client_id)
        keys = program.oauth.get_key_set().keys
        assert {key.alg for key in keys} == {"RS256"}
        assert str(program.oauth.get_server_metadata().jwks_uri).endswith("/jwks.json")

        program.oauth.revoke_token(token=tokens.access_token)
        assert program.oauth.introspect_token(token=tokens.access_token).active is False
        with pytest.raises(errors.InvalidToken):
            user.scaikey.get_profile()


def test_a_client_that_is_unknown_is_refused(newcomer: Newcomer) -> None:
    with (
        Oneself(newcomer.url, client=(newcomer.client_id, "cls_wrong")) as stranger,
        pytest.raises(errors.InvalidClient) as refused,
    ):
        stranger.oauth.introspect_token(token=newcomer.session)
    assert refused.value.status == 401
