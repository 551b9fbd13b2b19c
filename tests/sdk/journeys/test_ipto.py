"""ipto: from signup to logout."""

import asyncio
from datetime import UTC, datetime
from typing import assert_type
from uuid import UUID

import pytest
from oneself_client import AsyncOneself, Oneself, Unset, errors

from tests.sdk.new_user import NewUser
from tests.support.authenticator import code_at

NEW_PASSWORD = "n3wS3cur3P@ss!"


def test_user_signs_up_and_changes_the_password(new_user: NewUser) -> None:
    email, password = f"other.{new_user.email}", new_user.password
    with Oneself(new_user.url) as visitor:
        visitor.ipto.sign_up(
            email=email, password=password, display_name="Alice Chen", tenant_name="Acme Corp"
        )
        with pytest.raises(errors.InvalidCredentials):
            visitor.ipto.log_in(email=email, password="wrong-Passw0rd")
        session = visitor.ipto.log_in(email=email, password=password).data.session_token
        assert_type(session, str | Unset)
        # It is missing if a browser asked for a cookie instead.
        assert isinstance(session, str)

        me = visitor.using(token=session)
        user = me.ipto.get_current_user().data
        assert_type(user.email, str)
        assert (user.email, user.display_name, user.roles) == (email, "Alice Chen", ["owner"])
        assert user.email_verified is False

        with pytest.raises(errors.WeakPassword) as weak:
            me.ipto.change_password(current_password=password, new_password="Password")
        assert weak.value.status == 400
        assert {each.field for each in weak.value.violations} == {"/new_password"}
        with pytest.raises(errors.WrongPassword):
            me.ipto.change_password(current_password="0ther-Passw0rd", new_password=NEW_PASSWORD)
        done = me.ipto.change_password(current_password=password, new_password=NEW_PASSWORD)
        assert done.data.success

        assert len(me.ipto.list_sessions().data.items) == 2
        me.ipto.revoke_other_sessions()
        (last,) = me.ipto.list_sessions().data.items
        assert last.current
        assert me.ipto.log_out().data.success
        with pytest.raises(errors.InvalidToken):
            me.ipto.get_current_user()


def test_program_uses_an_api_key(new_user: NewUser) -> None:
    with Oneself(new_user.url, token=new_user.session) as me:
        key = me.ipto.create_api_key(name="reporting", scopes=["me/profile:read"]).data
        program = me.using(api_key=key.key)
        assert program.scaikey.get_profile().email == new_user.email
        with pytest.raises(errors.InsufficientScope) as lacking:
            program.ipto.list_api_keys()
        assert lacking.value.request_id is not None
        assert [each.name for each in me.ipto.list_api_keys().data.items] == ["reporting"]
        me.ipto.revoke_api_key(key.api_key_id)
        with pytest.raises(errors.InvalidToken):
            program.scaikey.get_profile()


def test_events_are_paginated(new_user: NewUser) -> None:
    with Oneself(new_user.url, token=new_user.session) as me:
        me.scaikey.update_profile(first_name="Alice")
        first = me.ipto.list_events(limit=1).data
        assert len(first.items) == 1
        assert first.next_cursor is not None
        second = me.ipto.list_events(limit=1, cursor=first.next_cursor).data
        assert second.items[0].event_id != first.items[0].event_id
        ids = [event.event_id for event in me.ipto.iterate_events(limit=1)]
        assert len(ids) == len(set(ids)) > 2
        whole = me.ipto.list_events(limit=100).data.items
        # Listing is recorded itself, so the one request has newer events.
        assert [event.event_id for event in whole if event.event_id in ids] == ids


def test_events_are_paginated_asynchronously(new_user: NewUser) -> None:
    async def list_ids() -> list[str]:
        async with AsyncOneself(new_user.url, token=new_user.session) as me:
            await me.scaikey.update_profile(first_name="Alice")
            return [str(event.event_id) async for event in me.ipto.iterate_events(limit=1)]

    ids = asyncio.run(list_ids())
    assert len(ids) == len(set(ids)) > 1


def test_login_with_a_second_factor_is_completed(new_user: NewUser) -> None:
    email, password = new_user.email, new_user.password
    with Oneself(new_user.url, token=new_user.session) as me:
        tenant = UUID(new_user.tenant_uuid)
        app = me.jitsudo.enrol_totp(tenant_id=tenant)
        confirmed = me.jitsudo.confirm_totp(
            tenant_id=tenant, code=code_at(app.secret, datetime.now(UTC)), password=password
        )
        with pytest.raises(errors.MfaRequired) as required:
            me.ipto.log_in(email=email, password=password)
        assert required.value.methods == ("totp", "backup_code")
        assert required.value.challenge_id not in repr(required.value)
        with pytest.raises(errors.WrongCode):
            required.value.complete(code="000000")
        reply = required.value.complete(code=confirmed.codes[0])
        assert reply.value.data.session_token.startswith("sess_")

    async def log_in() -> str:
        async with AsyncOneself(new_user.url) as visitor:
            with pytest.raises(errors.MfaRequired) as required:
                await visitor.ipto.log_in(email=email, password=password)
            reply = await required.value.complete(code=confirmed.codes[1])
            return str(reply.value.data.user_id)

    assert asyncio.run(log_in()).startswith("usr_")
