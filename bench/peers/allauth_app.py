"""django-allauth headless: the session of an app client, by its opaque token.

In production mode like djoser_app.py, set up as documented for headless use without social
accounts.

`python allauth_app.py prepare` creates tables and a user, and prints the token; `application` is
for a WSGI server. PEER_DATABASE is the path of the SQLite file.
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
        "django.contrib.sessions",
        "django.contrib.messages",
        "allauth",
        "allauth.account",
        "allauth.headless",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "allauth.account.middleware.AccountMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.messages.context_processors.messages",
                    "django.contrib.auth.context_processors.auth",
                ]
            },
        }
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
    ACCOUNT_EMAIL_VERIFICATION="none",
    ACCOUNT_LOGIN_METHODS={"email"},
    ACCOUNT_SIGNUP_FIELDS=["email*", "password1*"],
    HEADLESS_ONLY=True,
    HEADLESS_CLIENTS=("app",),
    HEADLESS_FRONTEND_URLS={},
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.management import call_command  # noqa: E402 # only after the settings
from django.core.wsgi import get_wsgi_application  # noqa: E402 # as above
from django.urls import include, path  # noqa: E402 # as above

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("_allauth/", include("allauth.headless.urls")),
]
application = get_wsgi_application()


def prepare() -> None:
    """Create the tables and a logged-in user; print their authentication header."""
    from allauth.account.models import EmailAddress  # noqa: PLC0415 # only after the settings
    from django.contrib.auth import get_user_model  # noqa: PLC0415 # as above
    from django.test import Client  # noqa: PLC0415 # as above

    call_command("migrate", verbosity=0)
    login = {"email": "alice.chen@example.com", "password": "n3wS3cur3P@ss!"}
    user = get_user_model().objects.create_user("alice", login["email"], login["password"])
    EmailAddress.objects.create(user=user, email=login["email"], verified=True, primary=True)
    answer = Client(headers={"Host": "127.0.0.1"}).post(
        "/_allauth/app/v1/auth/login", login, content_type="application/json"
    )
    print(f"X-Session-Token: {answer.json()['meta']['session_token']}")


if __name__ == "__main__" and sys.argv[1:] == ["prepare"]:
    prepare()
