"""A personal access token for one CI job.

`token_for_a_job.py make` prints the id and the token, which expires after an hour;
`token_for_a_job.py end ID` revokes it. The tokens belong to a robot account, so that the job's code
gets only the scopes that it needs, and never sees a password.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

from oneself_client import Oneself
from oneself_client.models import Scope

SCOPES: list[Scope] = ["me/profile:read"]


def main() -> None:
    """Create or revoke a token."""
    with Oneself(os.environ["ONESELF_URL"]) as visitor:
        login = visitor.ipto.log_in(
            email=os.environ["ROBOT_EMAIL"], password=os.environ["ROBOT_PASSWORD"]
        )
        robot = visitor.using(token=str(login.data.session_token))
        try:
            if sys.argv[1] == "make":
                token = robot.hantera.create_pat(
                    name=f"job {os.environ.get('GITHUB_RUN_ID', 'by hand')}",
                    expires_at=datetime.now(UTC) + timedelta(hours=1),
                    scopes=SCOPES,
                    client_id=os.environ["CLIENT_ID"],
                    client_secret=os.environ["CLIENT_SECRET"],
                )
                print(token.id, token.token)
            else:
                robot.hantera.revoke_pat(UUID(sys.argv[2]))
        finally:
            robot.ipto.log_out()


if __name__ == "__main__":
    main()
