"""jitsudo: the password of a user in a named tenant."""

from uuid import UUID, uuid4

import pytest
from oneself_client import Oneself, errors

from tests.sdk.newcomer import Newcomer

NEW_PASSWORD = "n3wS3cur3P@ss!"


def test_the_password_is_changed_in_its_tenant_and_no_other(newcomer: Newcomer) -> None:
    with Oneself(newcomer.url, token=newcomer.session) as me:
        with pytest.raises(errors.TenantMismatch) as refused:
            me.jitsudo.change_password(
                tenant_id=uuid4(), current_password=newcomer.password, new_password=NEW_PASSWORD
            )
        assert refused.value.status == 403
        reply = me.jitsudo.with_reply.change_password(
            tenant_id=UUID(newcomer.tenant_uuid),
            current_password=newcomer.password,
            new_password=NEW_PASSWORD,
        )
        assert reply.status == 204
        assert me.ipto.log_in(email=newcomer.email, password=NEW_PASSWORD).data.session_token
