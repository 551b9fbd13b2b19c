"""Turns an export into what `user import` reads: `convert.py < export.csv > users.csv`.

Devise and Laravel keep bcrypt's hash as it is, Django writes `bcrypt$` before it and Spring
`{bcrypt}`. Any other hash is left out, Django's `bcrypt_sha256$` among them, which is not bcrypt of
the password: who had one sets a new password by mail. `email_verified` says that the other system
had verified the addresses, and without it no such mail is sent.
"""

import csv
import re
import sys

HASH = re.compile(r"(?:bcrypt\$|\{bcrypt\})?(?P<hash>\$2[aby]\$.{56})")


def main() -> None:
    """Read standard input, write standard output."""
    writer = csv.DictWriter(sys.stdout, ["email", "name", "password_hash", "email_verified"])
    writer.writeheader()
    for row in csv.DictReader(sys.stdin):
        found = HASH.fullmatch(row["password"])
        writer.writerow(
            {
                "email": row["email"],
                "name": row["name"],
                "password_hash": found["hash"] if found else "",
                "email_verified": "true",
            }
        )


if __name__ == "__main__":
    main()
