"""Secrets in Python: neither printed nor repeated in errors (newcomer F19)."""

import importlib
import re
import traceback
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import yaml
from oneself_client import Oneself, Reply, models
from oneself_client.calls import Call, Operation
from oneself_client.types import UNSET, hidden

from tests.support.service import ROOT

DOCUMENT = yaml.safe_load((ROOT / "openapi" / "openapi.yaml").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
SECRET = "kept-to-itself"
#: The forms of secrets in the examples of the document: tokens with a prefix, API keys and JWTs.
SECRETS = re.compile(r"\b[a-z]{3,16}_(?:[0-9A-Za-z]{12}_)?[0-9A-Za-z]{43,}|\beyJ[\w.-]+")


def responses() -> Iterator[Any]:
    """Yield each successful response with an example that contains a secret."""
    operations = [each for item in DOCUMENT["paths"].values() for each in item.values()]
    for operation in operations:
        if "operationId" in operation:
            tag, _, name = operation["operationId"].partition(".")
            for status, response in operation["responses"].items():
                media = response.get("content", {}).get("application/json", {})
                examples = [each["value"] for each in media.get("examples", {}).values()]
                for body in [*examples, *filter(None, [media.get("example")])]:
                    if status < "300" and SECRETS.search(str(body)):
                        yield pytest.param(tag, name, int(status), body, id=f"{tag}.{name}")


@pytest.mark.parametrize(("tag", "name", "status", "body"), list(responses()))
def test_model_hides_the_secrets_of_a_response(tag, name, status, body):
    module = re.sub("([A-Z])", r"_\1", name).lower()
    operation = importlib.import_module(f"oneself_client.api.{tag}.{module}")
    value = operation.read(httpx2.Response(status, json=body))
    secrets = SECRETS.findall(str(body))
    assert SECRETS.findall(str(value.to_dict())) == secrets
    for printed in (repr(value), str(value), repr(Reply(value, status, {"Set-Cookie": SECRET}))):
        assert printed.count("<hidden>") == len(secrets)
        assert [secret for secret in [*secrets, SECRET] if secret in printed] == []


@pytest.mark.parametrize(
    "name",
    sorted(name for name in SCHEMAS if hasattr(getattr(models, name, None), "__attrs_attrs__")),
)
def test_model_hides_each_field_that_is_a_secret(name):
    """By the name of the field: `format: password` cannot be forgotten."""
    fields = SCHEMAS[name].get("properties", {})
    secret = {
        field
        for field, schema in fields.items()
        if re.search(r"(?i)password$|secret$|(?<!_)token$", field)
        and schema.get("type") != "boolean"
    }
    declared = {each.name: each.repr for each in getattr(models, name).__attrs_attrs__}
    snake = {re.sub("([A-Z])", r"_\1", field).lower() for field in secret}
    assert {field for field in snake if declared[field] is True} == set()


def test_absent_secret_is_shown_as_absent():
    assert [hidden(each) for each in (None, UNSET, "")] == ["None", "UNSET", "<hidden>"]


def test_client_and_call_hide_credentials():
    me = Oneself("http://account.example", token=SECRET, client=("cli_1", SECRET))
    call = Call(
        Operation("ipto.logIn", "POST", frozenset()),
        "/v1/auth/login",
        headers={"Cookie": SECRET},
        json={"password": SECRET},
        data={"token": SECRET},
    )
    for each in (me, vars(me), vars(me.using(api_key=SECRET)), vars(me.ipto), call):
        assert SECRET not in repr(each)


@pytest.mark.parametrize("token", [f"{SECRET}\n", f"{SECRET}\nX: y", f"{SECRET}\u2013", ""])
def test_malformed_credential_is_not_repeated(token):
    """The HTTP library would raise an error with the header in it."""
    for options in ({"token": token}, {"api_key": token}, {"token": lambda: token}):
        with pytest.raises(ValueError, match="visible ASCII characters only") as error:
            Oneself("http://account.example", **options).ipto.get_current_user()
        assert SECRET not in "".join(traceback.format_exception(error.value))
