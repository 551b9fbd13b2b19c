"""Each operation is fuzzed with each kind of credential that it accepts."""

from oneself.conformance.fuzz.runs import plan
from oneself.conformance.operations import OPERATIONS, schemes_of


def test_every_alternative_of_every_operation_is_in_a_run():
    runs = plan([*OPERATIONS.values()])
    planned = {(each.operation_id, run.scheme) for run in runs for each in run.operations}
    for each in OPERATIONS.values():
        for scheme in schemes_of(each):
            # A client asks for what belongs to the journey of a session.
            assert (each.operation_id, "session" if scheme == "client" else scheme) in planned


def test_what_needs_no_credential_is_asked_for_once():
    [run] = plan([OPERATIONS["status.getHealth"]])
    assert run.scheme == "session"


def test_two_people_ask_for_what_has_an_owner_and_an_id():
    [run] = [run for run in plan([*OPERATIONS.values()]) if run.peers]
    names = {each.operation_id for each in run.operations}
    assert names >= {"hantera.getPat", "hantera.createPat", "ipto.revokeSession"}
    # It would end the sessions that the run goes by.
    assert "ipto.revokeOtherSessions" not in names
    assert str(run) == f"base and other_tenant, {len(names)} operations"
