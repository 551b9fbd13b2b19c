"""Plan of the fuzzer runs: each operation with each kind of credential it accepts."""

from oneself_conformance.fuzz.runs import plan
from oneself_conformance.operations import OPERATIONS, schemes_of


def test_plan_covers_every_scheme_of_every_operation():
    runs = plan([*OPERATIONS.values()])
    planned = {(each.operation_id, run.scheme) for run in runs for each in run.operations}
    for each in OPERATIONS.values():
        for scheme in schemes_of(each):
            # Operations of clients run with the sessions.
            assert (each.operation_id, "session" if scheme == "client" else scheme) in planned


def test_public_operation_is_planned_once():
    [run] = plan([OPERATIONS["status.getHealth"]])
    assert run.scheme == "session"


def test_owned_objects_are_planned_for_two_users():
    [run] = [run for run in plan([*OPERATIONS.values()]) if run.peers]
    names = {each.operation_id for each in run.operations}
    assert names >= {"hantera.getPat", "hantera.createPat", "ipto.revokeSession"}
    # It would end the sessions that the run uses.
    assert "ipto.revokeOtherSessions" not in names
    assert str(run) == f"base and other_tenant, {len(names)} operations"
