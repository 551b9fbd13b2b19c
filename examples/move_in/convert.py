"""Convert an export to the format of `user import`: `convert.py < export.csv > users.csv`.

Devise and Laravel store plain bcrypt hashes; Django prefixes them with `bcrypt$`, Spring with
`{bcrypt}`. Other hashes are dropped, including Django's `bcrypt_sha256$`, which is not bcrypt of
the password: their users set a new password with a reset link.

An address is imported as verified only if the export has a column `email_verified` that says so.
Other systems have accounts under addresses that were never verified, some opened by another person
than the owner of the address. For Devise, export `confirmed_at IS NOT NULL AS email_verified`; for
Laravel, `email_verified_at IS NOT NULL AS email_verified`. Without the column, users verify their
addresses here, by their first reset link or in their profile.
"""

import csv
import re
import sys

# PostgreSQL writes t and f.
BOOLEANS = {"t": "true", "f": "false"}
HASH = re.compile(r"(?:bcrypt\$|\{bcrypt\})?(?P<hash>\$2[aby]\$.{56})")


def main() -> None:
    """Convert standard input to standard output."""
    writer = csv.DictWriter(sys.stdout, ["email", "name", "password_hash", "email_verified"])
    writer.writeheader()
    for row in csv.DictReader(sys.stdin):
        match = HASH.fullmatch(row["password"])
        verified = row.get("email_verified") or ""
        writer.writerow(
            {
                "email": row["email"],
                "name": row["name"],
                "password_hash": match["hash"] if match else "",
                "email_verified": BOOLEANS.get(verified, verified),
            }
        )


if __name__ == "__main__":
    main()
