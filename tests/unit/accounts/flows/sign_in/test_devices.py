"""Devices, which are sessions."""

import pytest

from accounts.errors import InvalidRequest, InvalidToken, NotFound
from accounts.flows.sign_in import devices, sessions
from accounts.services.authentication import authenticate
from accounts.services.credentials import SESSION_RIGHTS, revoke_everything
from accounts.services.principal import Credential, CredentialKind, Presented, Principal

PHONE = {"name": "iPhone 15", "os": "ios", "app_version": "1.0.0", "details": {"model": "A1"}}


def _open(env, user):
    """Open a session, and return its principal."""
    opened = env.act(sessions.open_session, user.user_id)
    credential = Credential(
        CredentialKind.SESSION, opened.session_id, SESSION_RIGHTS, opened.session_id
    )
    return Principal(opened.user, credential), opened.token


def _register(env, principal, client_id="phone", **fields):
    return env.act(devices.register_device, principal, client_id=client_id, fields=fields)


def _is_live(env, token):
    try:
        env.act(authenticate, Presented(CredentialKind.SESSION, token))
    except InvalidToken:
        return False
    return True


def test_registration_replaces_the_token_of_the_session(env, alice):
    """Clients C5, TK-11: a device has no access beside its session."""
    principal, token = _open(env, alice)
    before = len(env.act(sessions.list_sessions, alice.user_id))
    new_token = _register(env, principal, **PHONE)
    assert (_is_live(env, token), _is_live(env, new_token)) == (False, True)
    assert len(env.act(sessions.list_sessions, alice.user_id)) == before
    [device] = env.act(devices.list_devices, alice.user_id)
    assert (device.session_id, device.client_id) == (principal.credential.id, "phone")
    assert {name: getattr(device, name) for name in PHONE} == PHONE


def test_second_session_of_a_device_ends_the_first(env, alice):
    """Clients C5: and that of another device stays."""
    tokens = {}
    for name, client_id in (("first", "phone"), ("tablet", "tablet"), ("second", "phone")):
        principal, _ = _open(env, alice)
        tokens[name] = _register(env, principal, client_id)
    assert {name: _is_live(env, token) for name, token in tokens.items()} == {
        "first": False,
        "tablet": True,
        "second": True,
    }
    assert len(env.act(devices.list_devices, alice.user_id)) == 2


def test_session_can_be_registered_again(env, alice):
    """Clients C5: the fields that are not sent are empty."""
    principal, _ = _open(env, alice)
    _register(env, principal, **PHONE)
    _register(env, principal, "tablet")
    [device] = env.act(devices.list_devices, alice.user_id)
    assert (device.client_id, device.name, device.details) == ("tablet", "", {})


@pytest.mark.parametrize("end", ["log out", "others", "everything"])
def test_device_ends_with_its_session(env, alice, end):
    """Clients C5: no registration keeps access after a log-out, or after a reset."""
    principal, _ = _open(env, alice)
    token = _register(env, principal)
    if end == "log out":
        env.act(sessions.log_out, principal)
    elif end == "others":
        env.act(sessions.revoke_other_sessions, _open(env, alice)[0])
    else:
        env.act(revoke_everything, alice.view)
    assert not _is_live(env, token)
    assert env.act(devices.list_devices, alice.user_id) == []
    for act in (devices.revoke_device, devices.change_device):
        more = ({},) if act is devices.change_device else ()
        with pytest.raises(NotFound):
            env.act(act, alice.view, "phone", *more)


def test_device_is_revoked(env, alice, bob):
    """Clients C5: by its owner only."""
    principal, _ = _open(env, alice)
    token = _register(env, principal)
    with pytest.raises(NotFound):
        env.act(devices.revoke_device, bob.view, "phone")
    env.act(devices.revoke_device, alice.view, "phone")
    assert not _is_live(env, token)


def test_device_is_changed(env, alice):
    """Clients C5: fields that are not sent stay."""
    principal, _ = _open(env, alice)
    _register(env, principal, **PHONE)
    changed = env.act(devices.change_device, alice.view, "phone", {"app_version": "1.1.0"})
    assert (changed.name, changed.app_version) == ("iPhone 15", "1.1.0")
    assert env.act(devices.change_device, alice.view, "phone", {}) == changed
    assert env.act(devices.list_devices, alice.user_id) == [changed]


@pytest.mark.parametrize(
    "fields", [{"name": "a\u202eb"}, {"os": "\n"}, {"details": {"text": "x" * 4096}}]
)
def test_unfit_fields_are_rejected(env, alice, fields):
    """Clients C5: they are shown to the user, and stored as long as the session."""
    principal, _ = _open(env, alice)
    with pytest.raises(InvalidRequest):
        _register(env, principal, **fields)
