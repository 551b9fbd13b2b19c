"""`demo-operator`: acts that the conformance tests request, one JSON object in a line."""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oneself.commands.console.failures import Failure

if TYPE_CHECKING:
    from oneself.commands.conformance.acts import DemoActs

__all__ = ["demo_operator"]


def demo_operator() -> None:
    """Act on a demo database for the conformance tests, which start this command by themselves.

    Reads a request in each line of standard input, and answers each with a line. It can disable
    users and age their credentials, so it acts only on a database whose users are demo data.
    """
    from oneself.commands.conformance.acts import DemoActs
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.commands.demo import has_demo
    from oneself.commands.demo_data import has_only_real_users

    settings = load_settings()
    with open_database(settings) as database:
        with database.transaction(writing=False) as session:
            is_demo = has_demo(settings) and not has_only_real_users(session)
        if not is_demo:
            raise Failure(
                "The data folder has no demo users. Create them on a test deployment, with:"
                " python -m oneself demo"
            )
        acts = DemoActs(database, settings.data_dir / "mail")
        for line in sys.stdin:
            sys.stdout.write(json.dumps(_answer(acts, line)) + "\n")
            sys.stdout.flush()


def _answer(acts: "DemoActs", line: str) -> Mapping[str, Any]:
    """Return the results of a request, or why it cannot be fulfilled."""
    from sqlalchemy.exc import SQLAlchemyError

    from accounts.errors import AccountError

    try:
        request = json.loads(line)
        match request["act"]:
            case "read mail":
                return acts.wait_for_mail(request["to"], request["subject"])
            case "show tenant":
                return {"tenant_uuid": acts.find_tenant_uuid(request["tenant_id"])}
            case name:
                return acts.act(name, request["user_id"], request["arguments"])
    except TimeoutError as error:
        return {"unable": str(error)}
    except (AccountError, LookupError, SQLAlchemyError, TypeError, ValueError) as error:
        # The text of an error could repeat a value.
        return {"unable": f"the act is not possible ({type(error).__name__})"}
