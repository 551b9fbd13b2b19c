"""ScaiKey: profile fields, verification and the password."""

import pytest
from oneself_client import Oneself, errors

from tests.sdk.new_user import NewUser

NEW_PASSWORD = "n3wS3cur3P@ss!"


def test_profile_fields_are_changed_separately(new_user: NewUser) -> None:
    with Oneself(new_user.url, token=new_user.session) as me:
        before = me.scaikey.get_profile()
        assert before.email_verified is False

        changed = me.scaikey.update_profile(first_name="Alice", locale="de-DE")
        assert (changed.first_name, changed.locale) == ("Alice", "de-DE")
        assert changed.display_name == before.display_name
        # None clears a field; fields not given stay.
        cleared = me.scaikey.update_profile(locale=None)
        assert (cleared.first_name, cleared.locale) == ("Alice", None)

        with pytest.raises(errors.InvalidRequest) as wrong:
            me.scaikey.update_profile(phone="1234")
        assert wrong.value.status == 422
        (violation,) = wrong.value.violations
        assert (violation.place, violation.field) == ("body", "/phone")


def test_password_is_changed_and_address_verified(new_user: NewUser) -> None:
    with Oneself(new_user.url, token=new_user.session) as me:
        assert me.scaikey.request_email_verification().success
        with pytest.raises(errors.SecretInvalid):
            me.scaikey.confirm_email_verification(secret=f"ots_{'0' * 49}")
        done = me.scaikey.change_password(
            current_password=new_user.password, new_password=NEW_PASSWORD
        )
        assert done.success
        assert me.ipto.log_in(email=new_user.email, password=NEW_PASSWORD).data.session_token
