"""CSRF tokens, which belong to one session."""

from accounts.crypto.keyring import Keyring
from accounts.services.csrf_tokens import csrf_token, is_csrf_token

OLD, NEW = Keyring(b"o" * 32), Keyring(b"n" * 32, b"o" * 32)


def test_token_is_that_of_one_session():
    """SE-09, clients C5: the token of another session, or none, is wrong."""
    token = csrf_token(NEW, "ses_0f1e2d3c4b5a")
    assert len(token) == 43
    assert is_csrf_token(NEW, "ses_0f1e2d3c4b5a", token)
    assert not is_csrf_token(NEW, "ses_0f1e2d3c4b5b", token)
    assert not any(
        is_csrf_token(NEW, "ses_0f1e2d3c4b5a", each) for each in ("", token[:-1], "\xe9")
    )


def test_token_of_a_former_root_secret_is_accepted():
    """SE-09, TK-07: while it is one of the root secrets."""
    token = csrf_token(OLD, "ses_0f1e2d3c4b5a")
    assert is_csrf_token(NEW, "ses_0f1e2d3c4b5a", token)
    assert not is_csrf_token(Keyring(b"n" * 32), "ses_0f1e2d3c4b5a", token)
