"""jitsudo: profile and password of a user in a named tenant."""

from uuid import UUID, uuid4

import pytest
from oneself_client import Oneself, errors

from tests.sdk.new_user import NewUser

NEW_PASSWORD = "n3wS3cur3P@ss!"
AVATAR = "data:image/webp;base64,UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAgA0JaQAA3AA/vv9UAA="


def test_password_is_changed_only_in_the_right_tenant(new_user: NewUser) -> None:
    with Oneself(new_user.url, token=new_user.session) as me:
        with pytest.raises(errors.TenantMismatch) as refused:
            me.jitsudo.change_password(
                tenant_id=uuid4(), current_password=new_user.password, new_password=NEW_PASSWORD
            )
        assert refused.value.status == 403
        reply = me.jitsudo.with_reply.change_password(
            tenant_id=UUID(new_user.tenant_uuid),
            current_password=new_user.password,
            new_password=NEW_PASSWORD,
        )
        assert reply.status == 204
        assert me.ipto.log_in(email=new_user.email, password=NEW_PASSWORD).data.session_token


def test_profile_is_changed_with_its_avatar(new_user: NewUser) -> None:
    tenant_id = UUID(new_user.tenant_uuid)
    with Oneself(new_user.url, token=new_user.session) as me:
        changed = me.jitsudo.update_user_profile(
            tenant_id=tenant_id, first_name="Zoë", avatar_base64=AVATAR
        )
        assert changed.first_name == "Zoë"
        assert changed == me.jitsudo.get_user_profile(tenant_id=tenant_id)
        cleared = me.jitsudo.update_user_profile(tenant_id=tenant_id, avatar_base64=None)
        assert (cleared.first_name, cleared.avatar_base64) == ("Zoë", None)
