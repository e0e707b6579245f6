"""What an answer means for a delivery: done, again later, or never."""

from gateway.fhir.exchange import Answer
from gateway.fhir.outcome import read_outcome
from gateway.model.errors import Refused, Unavailable

SEVERAL = "several there have the same identifier"
CONFLICTS = frozenset({409, 412})
"""The version in If-Match is not the newest. Source: FHIR R4 http.html, managing resource contention."""
GONE = frozenset({404, 410})

_PASSING = frozenset({408, 409, 425, 429})  # trying again may help: time-outs, version conflicts, haste
_NEVER = frozenset({501, 505})  # the server cannot do it, today or tomorrow
_BAD = frozenset({"error", "fatal"})


def judge(answer: Answer) -> None:
    """Nothing happens when the server did it. Raises Unavailable when trying again may help, else Refused."""
    if answer.is_good:
        return
    text = f"answered {answer.status}"
    if answer.status == 412:
        text = f"{text}: {SEVERAL}"
    said = read_outcome(answer.tree())
    text = f"{text}: {said}" if said else text
    if answer.status in _PASSING or (answer.status >= 500 and answer.status not in _NEVER):
        raise Unavailable(text, retry_after_s=answer.retry_after_s)
    raise Refused(text)


def judge_fhir(answer: Answer) -> None:
    """As `judge`; and a success must come from a FHIR server, not from a page that stands in between."""
    judge(answer)
    if not answer.is_fhir:
        raise Unavailable(f"answered {answer.status} with something that is no FHIR")
    tree = answer.tree()
    if answer.body and tree is None:
        raise Unavailable(f"answered {answer.status} with half a resource")
    if _is_failure(tree):
        raise Refused(f"answered {answer.status}, but: {read_outcome(tree)}")


def _is_failure(tree: object) -> bool:
    """Whether it is an OperationOutcome that tells of an error."""
    if not isinstance(tree, dict) or tree.get("resourceType") != "OperationOutcome":
        return False
    issues = tree.get("issue")
    return isinstance(issues, list) and any(
        isinstance(issue, dict) and issue.get("severity") in _BAD for issue in issues
    )
