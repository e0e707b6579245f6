"""The ServiceRequest behind a resource that a module maps: itself, a Task's focus, what an Appointment is based on.

Source: FHIR R4 Task.focus, Appointment.basedOn; HL7 Clinical Order Workflows: a Task asks for the ServiceRequest it
has in focus.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from gateway.mapping.fhir_paths import Resource

Resolve = Callable[[Resource, Mapping[str, Any]], Resource | None]

_ADDRESS = r"(?:^|/)({}/[A-Za-z0-9\-.]{{1,64}})(?:/_history/[^/]*)?"
_PATIENT = re.compile(_ADDRESS.format("Patient"))
_ENCOUNTER = re.compile(_ADDRESS.format("Encounter"))
_REQUEST = re.compile(_ADDRESS.format("ServiceRequest"))


def request_address(order: Resource, resolve: Resolve) -> str:
    """ "ServiceRequest/9" in the sender's FHIR base; empty when the order names none."""
    if order.get("resourceType") == "ServiceRequest":
        return _own_address(order)
    behind = _behind(order, resolve)
    literal = _address(_REQUEST, leading(order))
    return literal or (_own_address(behind) if behind else "")


def leading(order: Resource) -> Mapping[str, Any]:
    """The Reference element that leads to the ServiceRequest; empty when there is none.

    A Task has it in focus, or is based on it. Source: FHIR R4 Task.focus, Task.basedOn, Appointment.basedOn.
    """
    several = order.get("basedOn")
    based = several if isinstance(several, list) else []
    if order.get("resourceType") == "Task":
        based = (
            [order["focus"]]
            if order.get("focus")
            else [one for one in based if "ServiceRequest/" in _text(one)]
        )
    wanted = based[0] if based else None
    return wanted if isinstance(wanted, dict) else {}


def each_request(order: Resource) -> tuple[Resource, ...]:
    """An Appointment once for each ServiceRequest that it is based on, each time based on that one; another once."""
    several = order.get("basedOn")
    if order.get("resourceType") != "Appointment" or not isinstance(several, list) or len(several) < 2:
        return (order,)
    wanted = [one for one in several if "ServiceRequest/" in _text(one) or _text(one).startswith("urn:")]
    return tuple({**order, "basedOn": [one]} for one in wanted) or (order,)


def own_address(order: Resource) -> str:
    """ "Task/3": the resource's own address in the sender's FHIR base; empty when it has no id."""
    kind, own_id = order.get("resourceType"), order.get("id")
    return f"{kind}/{own_id}" if isinstance(own_id, str) and own_id else ""


def version_of(order: Resource) -> str:
    """Its meta.versionId; empty when it has none. Source: FHIR R4 resource.html, meta."""
    meta = order.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else ""


def changed_at(order: Resource) -> datetime | None:
    """Its meta.lastUpdated; None when it has none that is an instant. Source: FHIR R4 resource.html, meta."""
    meta = order.get("meta")
    text = meta.get("lastUpdated") if isinstance(meta, dict) else None
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def patient_reference(order: Resource, resolve: Resolve) -> str:
    """The reference to the patient as the sender wrote it; empty when there is none."""
    own = order.get("subject") or order.get("for")
    if own is None and order.get("resourceType") != "ServiceRequest":
        behind = _behind(order, resolve)
        own = behind.get("subject") if behind else None
    return _text(own)


def patient_address(order: Resource, resolve: Resolve) -> str:
    """ "Patient/7" in the sender's FHIR base; a contained or uuid reference has none."""
    return _address(_PATIENT, patient_reference(order, resolve))


def encounter_reference(order: Resource, resolve: Resolve) -> str:
    """The reference to the visit as the sender wrote it; empty when there is none."""
    own = order.get("encounter")
    if own is None and order.get("resourceType") != "ServiceRequest":
        behind = _behind(order, resolve)
        own = behind.get("encounter") if behind else None
    return _text(own)


def encounter_address(order: Resource, resolve: Resolve) -> str:
    """ "Encounter/3" in the sender's FHIR base; a contained or uuid reference has none."""
    return _address(_ENCOUNTER, encounter_reference(order, resolve))


def carried(
    orders: Iterable[Resource], resolve: Resolve, speaks: Callable[[Resource], bool] = lambda _: True
) -> frozenset[int]:
    """The id() of every order that another one among `orders` speaks for.

    A Task speaks for the ServiceRequest that it has in focus, which is no second order; `speaks` says which Tasks do.
    One that is not active, such as a revoked one, speaks for itself and for the Task: a Task often stays `requested`
    when its order has ended.
    """
    present = tuple(orders)
    own = {id(order) for order in present}
    found = set()
    for task in present:
        behind = _behind(task, resolve) if task.get("resourceType") == "Task" else None
        if behind is None or id(behind) not in own:
            continue
        if behind.get("status") != "active":
            found.add(id(task))
        elif speaks(task):
            found.add(id(behind))
    return frozenset(found)


def is_to_abort(task: Resource) -> bool:
    """Whether a Task asks to take its order back. Source: FHIR R4 CodeSystem task-code, abort."""
    code = task.get("code")
    codings = code.get("coding") if isinstance(code, dict) else None
    several = codings if isinstance(codings, list) else ()
    return any(isinstance(coding, dict) and coding.get("code") == "abort" for coding in several)


def _behind(order: Resource, resolve: Resolve) -> Resource | None:
    reference = leading(order)
    found = resolve(order, reference) if reference else None
    return found if found is not None and found.get("resourceType") == "ServiceRequest" else None


def _own_address(request: Resource) -> str:
    identifier = request.get("id")
    return f"ServiceRequest/{identifier}" if isinstance(identifier, str) and identifier else ""


def _address(pattern: re.Pattern[str], reference: object) -> str:
    text = reference if isinstance(reference, str) else _text(reference)
    match = pattern.search(text)
    return match[1] if match and match.end() == len(text) else ""


def _text(reference: object) -> str:
    text = reference.get("reference") if isinstance(reference, dict) else None
    return text if isinstance(text, str) else ""
