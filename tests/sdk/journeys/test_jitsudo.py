"""jitsudo: the password of a user in a named tenant."""

from uuid import UUID, uuid4

import pytest
from oneself_client import Oneself, errors

from tests.sdk.new_user import NewUser

NEW_PASSWORD = "n3wS3cur3P@ss!"


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
