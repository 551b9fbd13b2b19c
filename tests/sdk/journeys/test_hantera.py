"""Hantera, without and with asyncio: settings, a picture, a change of address, tokens."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from oneself_client import AsyncOneself, Oneself, errors

from tests.sdk.newcomer import Newcomer


def test_settings_are_dictionaries(newcomer: Newcomer) -> None:
    with Oneself(newcomer.url, token=newcomer.session) as me:
        assert me.hantera.get_settings() == {}
        me.hantera.replace_settings({"theme": "dark", "panes": {"left": 240}})
        merged = me.hantera.update_settings({"theme": None, "panes": {"right": 120}})
        assert merged == {"panes": {"left": 240, "right": 120}}


def test_a_picture_is_bytes(newcomer: Newcomer) -> None:
    with Oneself(newcomer.url, token=newcomer.session) as me:
        profile = me.hantera.upload_picture(newcomer.picture, content_type="image/png")
        assert profile.picture is not None
        reply = me.hantera.with_reply.get_picture()
        assert reply.value[8:12] == b"WEBP"
        with pytest.raises(errors.NotModified):
            me.hantera.get_picture(if_none_match=reply.headers["ETag"])
        me.hantera.remove_picture()
        with pytest.raises(errors.NotFound):
            me.hantera.get_picture()


def test_a_personal_access_token_works_until_it_is_revoked(newcomer: Newcomer) -> None:
    async def follow() -> None:
        async with AsyncOneself(newcomer.url, token=newcomer.session) as me:
            created = await me.hantera.create_pat(
                name="deploy",
                expires_at=datetime.now(UTC) + timedelta(days=30),
                scopes=["me/profile:read"],
                client_id=newcomer.client_id,
                client_secret=newcomer.client_secret,
            )
            program = me.using(token=created.token)
            # At once, since they share the connections and nothing else.
            profiles = await asyncio.gather(*(program.hantera.get_profile() for _ in range(4)))
            assert {profile.email for profile in profiles} == {newcomer.email}
            assert [each.id for each in await me.hantera.list_pats()] == [created.id]
            assert (await me.hantera.get_pat(created.id)).name == "deploy"
            await me.hantera.revoke_pat(created.id)
            with pytest.raises(errors.NotFound):
                await me.hantera.get_pat(created.id)
            with pytest.raises(errors.InvalidToken):
                await program.hantera.get_profile()

    asyncio.run(follow())


def test_an_address_is_changed_by_its_secret(newcomer: Newcomer) -> None:
    async def follow() -> None:
        async with AsyncOneself(newcomer.url, token=newcomer.session) as me:
            change = await me.hantera.request_email_change(email=f"new.{newcomer.email}")
            assert (await me.hantera.get_profile()).pending_email == change.email
            # The service gives it to the client, which mails it, unless an operator says otherwise.
            assert isinstance(change.secret, str)
            changed = await me.hantera.validate_email_change(
                identity_id=change.identity_id, secret=change.secret
            )
            assert changed.email == f"new.{newcomer.email}"

    asyncio.run(follow())
