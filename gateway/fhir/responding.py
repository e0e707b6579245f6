"""Answers as FHIR wants them: whatever is refused is refused by an OperationOutcome."""

from collections.abc import Mapping

from starlette.responses import Response

from gateway.fhir.outcome import MEDIA_TYPE, Issue, encode, render_outcome


def answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """FHIR JSON that is rendered already."""
    return Response(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def refusal(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An OperationOutcome with one error. Source: FHIR R4 ValueSet issue-type for `code`."""
    issue = Issue(severity="error", code=code, text=text)
    return answer(status, encode(render_outcome(issue)), headers)
