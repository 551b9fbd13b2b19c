"""The methods by which a client identifies itself."""

import pytest

from accounts.crypto import tokens
from accounts.crypto.jwts import KeySet
from accounts.errors import InvalidClient, InvalidRequest, TooManyAttempts
from accounts.flows.oauth.client_methods import identify_client
from accounts.flows.oauth.token_introspection import introspect_token
from accounts.services.clients import ClientCredentials

UNKNOWN = "cli_000000000000"


@pytest.fixture
def credentials(env, alice):
    client, secret = env.client(alice.view.tenant_id)
    return ClientCredentials(client.id, secret)


@pytest.fixture
def public(env, alice):
    client, _ = env.client(alice.view.tenant_id, public=True)
    return client


@pytest.fixture
def identify(env):
    """Identify a client by the credentials of its header, or by the fields of its form."""

    def identify(header=None, client_id=None, client_secret=None):
        form = {"client_id": client_id, "client_secret": client_secret}
        return env.act(identify_client, header, **form).id

    return identify


def test_client_is_identified_by_its_secret(identify, credentials):
    """TK-17, clients C3: in the header, with its id in the form or without, or in the form."""
    assert identify(credentials) == credentials.client_id
    assert identify(credentials, credentials.client_id) == credentials.client_id
    assert identify(None, *credentials) == credentials.client_id


def test_secret_is_sent_by_one_method(identify, credentials, public):
    """TK-17, RFC 6749 section 2.3: even if both are right, or one belongs to another client."""
    other = (public.id, tokens.mint(tokens.CLIENT_SECRET))
    for form in (tuple(credentials), other, (None, credentials.secret)):
        with pytest.raises(InvalidRequest) as caught:
            identify(credentials, *form)
        assert caught.value.violations[0].field == ("client_secret",)


def test_conflicting_client_ids_are_rejected(identify, credentials, public):
    """RFC 6749 section 3.2.1: one of the two ids must be wrong."""
    with pytest.raises(InvalidRequest) as caught:
        identify(credentials, public.id)
    assert caught.value.violations[0].field == ("client_id",)


def test_secret_in_the_form_needs_an_id(identify, credentials):
    """RFC 6749 section 2.3.1."""
    with pytest.raises(InvalidRequest) as caught:
        identify(client_secret=credentials.secret)
    assert caught.value.violations[0].field == ("client_id",)


def test_wrong_secrets_in_the_form_are_counted(identify, credentials):
    """RFC 6749 section 2.3.1: as in the header, and together with those."""
    wrong = tokens.mint(tokens.CLIENT_SECRET)
    for header, form in [(credentials._replace(secret=wrong), ()), (None, (UNKNOWN, wrong))]:
        with pytest.raises(InvalidClient):
            identify(header, *form)
    for _ in range(4):
        with pytest.raises(InvalidClient):
            identify(None, credentials.client_id, wrong)
    with pytest.raises(TooManyAttempts):
        identify(None, *credentials)


def test_public_client_is_identified_by_its_id(identify, public):
    """RFC 6749 section 3.2.1: it has nothing else."""
    assert identify(client_id=public.id) == public.id


def test_confidential_client_must_send_its_secret(identify, credentials):
    """RFC 6749 section 3.2.1: its id is not secret; the refusal names both methods."""
    for client_id in (credentials.client_id, UNKNOWN, None):
        with pytest.raises(InvalidClient, match="client_secret_basic or client_secret_post"):
            identify(client_id=client_id)
    with pytest.raises(InvalidClient):
        identify(credentials._replace(secret=None), credentials.client_id)


def test_public_client_that_sends_a_secret_is_told_its_method(identify, public):
    """Clients C3: by its id alone, any caller can learn that it is public."""
    secret = tokens.mint(tokens.CLIENT_SECRET)
    for header, form in [(ClientCredentials(public.id, secret), ()), (None, (public.id, secret))]:
        with pytest.raises(InvalidClient, match=r"without a secret \(none\)"):
            identify(header, *form)


def test_public_client_cannot_introspect(env, public):
    """RFC 7662 section 2.1: any program could claim to be it."""
    with pytest.raises(InvalidClient, match="client_secret_basic or client_secret_post"):
        env.act(introspect_token, KeySet(()), public, "a-token")
