from datetime import UTC, datetime

import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.operationoutcome import OperationOutcome

from gateway.fhir.auth import Basic, Bearer, Source
from gateway.fhir.capability import render_capability
from gateway.fhir.outcome import Issue, read_outcome, render_outcome

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.mark.parametrize("auth", [None, Bearer(token="t"), Basic(user="u", password="p")])
def test_the_capability_statement_is_valid(auth: Bearer | Basic | None) -> None:
    statement = render_capability(
        Source(name="ehr", auth=((auth,),) if auth else ()), at=NOW, address="https://gw/fhir/ehr"
    )
    CapabilityStatement.model_validate(statement)
    assert ("security" in statement["rest"][0]) is (auth is not None)


def test_an_outcome_is_valid_and_read_back() -> None:
    outcome = render_outcome(
        Issue(severity="error", code="required", text="subject: absent", expression="ServiceRequest.subject"),
        Issue(severity="warning", code="value", text="priority: unknown"),
    )
    OperationOutcome.model_validate(outcome)
    assert read_outcome(outcome) == "subject: absent; priority: unknown"


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (None, ""),
        ([], ""),
        ({"issue": 7}, ""),
        ({"issue": [7, {}]}, ""),
        ({"issue": [{"code": "conflict"}]}, "conflict"),
        ({"issue": [{"details": {"text": "no\nbed"}}]}, "no bed"),
        ({"issue": [{"diagnostics": "a", "details": {"text": "b"}}, {"diagnostics": 1}]}, "a b"),
        ({"issue": [{"code": "login", "details": {"coding": [{"display": "wrong scope"}]}}]}, "wrong scope"),
        (
            {
                "issue": [
                    {"details": {"text": "b", "coding": [{"display": "c"}]}},
                    {"details": {"coding": [7, {}]}},
                ]
            },
            "b",
        ),
        ({"issue": [{"diagnostics": "x" * 501}]}, "x" * 499 + "…"),
    ],
)
def test_whatever_others_call_an_outcome_is_read(resource: object, expected: str) -> None:
    assert read_outcome(resource) == expected
