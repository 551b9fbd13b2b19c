"""djoser on Django REST Framework: /users/me/ with an opaque token from the database.

In production mode: no debugging, a persistent database connection, only JSON, and only the
middleware that Django's project template has for security and that the token needs.

`python djoser_app.py prepare` creates tables and a user, and prints the token; `application` is for
a WSGI server. PEER_DATABASE is the path of the SQLite file.
"""

import os
import sys

import django
from django.conf import settings

settings.configure(
    DEBUG=False,
    SECRET_KEY="x" * 50,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "rest_framework",
        "rest_framework.authtoken",
        "djoser",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["PEER_DATABASE"],
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
            },
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    },
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.management import call_command  # noqa: E402 # only after the settings
from django.core.wsgi import get_wsgi_application  # noqa: E402 # as above
from django.urls import include, path  # noqa: E402 # as above

urlpatterns = [path("", include("djoser.urls"))]
application = get_wsgi_application()


def prepare() -> None:
    """Create the tables and a user; print their authentication header."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415 # only after the settings
    from rest_framework.authtoken.models import Token  # noqa: PLC0415 # as above

    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user("alice", "alice.chen@example.com", "n3wS3cur3P@ss!")
    print(f"Authorization: Token {Token.objects.create(user=user).key}")


if __name__ == "__main__" and sys.argv[1:] == ["prepare"]:
    prepare()
