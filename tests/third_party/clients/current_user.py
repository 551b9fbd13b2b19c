"""The current user by a session and by an API key, with the generated Python client."""

import os
import sys

import openapi_client


def email(configuration: openapi_client.Configuration) -> str:
    with openapi_client.ApiClient(configuration) as client:
        return openapi_client.IptoApi(client).ipto_get_current_user().data.email


url = os.environ["ONESELF_URL"]
session = openapi_client.Configuration(host=url, access_token=os.environ["SESSION"])
key = openapi_client.Configuration(host=url, api_key={"apiKey": os.environ["API_KEY"]})
sys.stdout.write(f"{email(session)}\n{email(key)}\n")
