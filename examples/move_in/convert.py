"""Convert an export to the format of `user import`: `convert.py < export.csv > users.csv`.

Devise and Laravel store plain bcrypt hashes; Django prefixes them with `bcrypt$`, Spring with
`{bcrypt}`. Other hashes are dropped, including Django's `bcrypt_sha256$`, which is not bcrypt of
the password: their users set a new password with a reset link. That requires `email_verified`,
which claims that the other system has verified the addresses.
"""

import csv
import re
import sys

HASH = re.compile(r"(?:bcrypt\$|\{bcrypt\})?(?P<hash>\$2[aby]\$.{56})")


def main() -> None:
    """Convert standard input to standard output."""
    writer = csv.DictWriter(sys.stdout, ["email", "name", "password_hash", "email_verified"])
    writer.writeheader()
    for row in csv.DictReader(sys.stdin):
        match = HASH.fullmatch(row["password"])
        writer.writerow(
            {
                "email": row["email"],
                "name": row["name"],
                "password_hash": match["hash"] if match else "",
                "email_verified": "true",
            }
        )


if __name__ == "__main__":
    main()
