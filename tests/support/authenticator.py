"""An authenticator app: the codes of a secret by pyotp, at the time of a test's clock."""

from datetime import datetime, timedelta

import pyotp


def code_at(secret: str, now: datetime, *, steps: int = 0) -> str:
    """Return the code that an app shows at a time, or some steps of thirty seconds later."""
    return pyotp.TOTP(secret).at(now + timedelta(seconds=30 * steps))
