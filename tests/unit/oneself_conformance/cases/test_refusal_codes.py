"""Refusal codes are read from the place that each dialect uses."""

import pytest

from oneself.document import load_document, resolve
from oneself_conformance.cases.loader import refusal_shapes
from oneself_conformance.operations import OPERATIONS, documented_codes


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_example_code_equals_its_key(operation_id: str):
    operation = OPERATIONS[operation_id]
    for status, response in operation.responses.items():
        for content in resolve(load_document(), response).get("content", {}).values():
            for code, example in content.get("examples", {}).items():
                assert refusal_shapes().codes_in(operation.dialect, example["value"]) == [code]
                assert code in documented_codes(operation_id, status)


@pytest.mark.parametrize("body", [None, "go away", [], {}, {"error": "x"}, {"detail": "x"}])
def test_body_without_code_has_no_codes(body: object):
    assert refusal_shapes().codes_in("ipto", body) == []


def test_scaikey_violations_each_have_a_code():
    body = {"detail": [{"type": "invalid_request"}, {"type": "weak_password"}, {"msg": "?"}]}
    assert refusal_shapes().codes_in("scaikey", body) == ["invalid_request", "weak_password"]
