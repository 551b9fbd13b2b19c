"""ScaiKey: the profile, field by field, and the password."""

import pytest
from oneself_client import Oneself, errors

from tests.sdk.newcomer import Newcomer

NEW_PASSWORD = "n3wS3cur3P@ss!"


def test_a_profile_is_changed_field_by_field(newcomer: Newcomer) -> None:
    with Oneself(newcomer.url, token=newcomer.session) as me:
        before = me.scaikey.get_profile()
        assert before.email_verified is False

        changed = me.scaikey.update_profile(first_name="Alice", locale="de-DE")
        assert (changed.first_name, changed.locale) == ("Alice", "de-DE")
        assert changed.display_name == before.display_name
        # None clears a field, and what is not given stays.
        cleared = me.scaikey.update_profile(locale=None)
        assert (cleared.first_name, cleared.locale) == ("Alice", None)

        with pytest.raises(errors.InvalidRequest) as wrong:
            me.scaikey.update_profile(phone="1234")
        assert wrong.value.status == 422
        (violation,) = wrong.value.violations
        assert (violation.place, violation.field) == ("body", "/phone")


def test_the_password_is_changed_and_the_address_verified(newcomer: Newcomer) -> None:
    with Oneself(newcomer.url, token=newcomer.session) as me:
        assert me.scaikey.request_email_verification().success
        with pytest.raises(errors.SecretInvalid):
            me.scaikey.confirm_email_verification(secret=f"ots_{'0' * 49}")
        done = me.scaikey.change_password(
            current_password=newcomer.password, new_password=NEW_PASSWORD
        )
        assert done.success
        assert me.ipto.log_in(email=newcomer.email, password=NEW_PASSWORD).data.session_token
