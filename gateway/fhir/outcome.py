"""OperationOutcome: FHIR's way to say how something went, built for our answers and read from those of others."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MEDIA_TYPE = "application/fhir+json"

_LONGEST = 500  # characters kept of what another system says


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One remark. `text` names fields, never a patient's values."""

    severity: Literal["error", "warning", "information"]
    code: str  # Source: FHIR R4 ValueSet issue-type
    text: str
    expression: str = ""  # FHIRPath of the element it is about


def render_outcome(*issues: Issue) -> dict[str, Any]:
    """The OperationOutcome that says `issues`, of which there must be one at least."""
    return {"resourceType": "OperationOutcome", "issue": [_render_issue(issue) for issue in issues]}


def encode(resource: Mapping[str, Any]) -> bytes:
    """A resource as the bytes of FHIR JSON."""
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()


def read_outcome(resource: object) -> str:
    """What an OperationOutcome of another system says, in one line of bounded length; "" when it is none."""
    issues = resource.get("issue") if isinstance(resource, dict) else None
    said = [_said(issue) for issue in issues if isinstance(issue, dict)] if isinstance(issues, list) else []
    line = "; ".join(text for text in said if text)
    clean = "".join(char if char.isprintable() else " " for char in line)
    return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 1] + "…"


def _said(issue: Mapping[str, Any]) -> str:
    texts = (issue.get("diagnostics"), _detail(issue.get("details")))
    return " ".join(text for text in texts if isinstance(text, str)) or str(issue.get("code") or "")


def _detail(details: object) -> object:
    """What a CodeableConcept says in words: its text, else what its codes mean; None when it says nothing."""
    if not isinstance(details, dict):
        return None
    codings = details.get("coding")
    displays = [
        one["display"]
        for one in (codings if isinstance(codings, list) else ())
        if isinstance(one, dict) and isinstance(one.get("display"), str)
    ]
    return details.get("text") or ", ".join(displays) or None


def _render_issue(issue: Issue) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "severity": issue.severity,
        "code": issue.code,
        "diagnostics": issue.text,
    }
    if issue.expression:
        rendered["expression"] = [issue.expression]
    return rendered
