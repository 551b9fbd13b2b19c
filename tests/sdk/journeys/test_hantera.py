"""Hantera, sync and async: settings, a picture, a change of address, tokens."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from oneself_client import AsyncOneself, Oneself, errors

from tests.sdk.new_user import NewUser


def test_settings_are_dictionaries(new_user: NewUser) -> None:
    with Oneself(new_user.url, token=new_user.session) as me:
        assert me.hantera.get_settings() == {}
        me.hantera.replace_settings({"theme": "dark", "panes": {"left": 240}})
        merged = me.hantera.update_settings({"theme": None, "panes": {"right": 120}})
        assert merged == {"panes": {"left": 240, "right": 120}}


def test_picture_is_bytes(new_user: NewUser) -> None:
    with Oneself(new_user.url, token=new_user.session) as me:
        profile = me.hantera.upload_picture(new_user.picture, content_type="image/png")
        assert profile.picture is not None
        reply = me.hantera.with_reply.get_picture()
        assert reply.value[8:12] == b"WEBP"
        with pytest.raises(errors.NotModified):
            me.hantera.get_picture(if_none_match=reply.headers["ETag"])
        me.hantera.remove_picture()
        with pytest.raises(errors.NotFound):
            me.hantera.get_picture()


def test_personal_access_token_works_until_revoked(new_user: NewUser) -> None:
    async def follow() -> None:
        async with AsyncOneself(new_user.url, token=new_user.session) as me:
            created = await me.hantera.create_pat(
                name="deploy",
                expires_at=datetime.now(UTC) + timedelta(days=30),
                scopes=["me/profile:read"],
                client_id=new_user.client_id,
                client_secret=new_user.client_secret,
            )
            program = me.using(token=created.token)
            # Concurrently, on shared connections.
            profiles = await asyncio.gather(*(program.hantera.get_profile() for _ in range(4)))
            assert {profile.email for profile in profiles} == {new_user.email}
            assert [each.id for each in await me.hantera.list_pats()] == [created.id]
            assert (await me.hantera.get_pat(created.id)).name == "deploy"
            await me.hantera.revoke_pat(created.id)
            with pytest.raises(errors.NotFound):
                await me.hantera.get_pat(created.id)
            with pytest.raises(errors.InvalidToken):
                await program.hantera.get_profile()

    asyncio.run(follow())


def test_address_is_changed_with_the_secret(new_user: NewUser) -> None:
    async def follow() -> None:
        async with AsyncOneself(new_user.url, token=new_user.session) as me:
            change = await me.hantera.request_email_change(email=f"new.{new_user.email}")
            assert (await me.hantera.get_profile()).pending_email == change.email
            # By default the service returns the secret to the client, which mails it.
            assert isinstance(change.secret, str)
            changed = await me.hantera.validate_email_change(
                identity_id=change.identity_id, secret=change.secret
            )
            assert (changed.email, changed.email_verified) == (f"new.{new_user.email}", False)

    asyncio.run(follow())
