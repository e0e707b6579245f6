"""The answer to a message: a message of our own. Source: FHIR R4 messaging.html, MessageHeader.response."""

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gateway.fhir.classify import text_at
from gateway.model.message import MessageState, Receipt

_OURS = "urn:imaging-order-gateway"
_MOST_ID = 64  # Source: FHIR R4 datatypes.html, id


def render_reply(header: Mapping[str, Any], outcome: Mapping[str, Any], receipt: Receipt) -> dict[str, Any]:
    """The reply to the message with that MessageHeader: it was taken, or never will be; `outcome` says more.

    It is the same for the same message, so a sender that asks again gets what it missed.
    """
    name = str(uuid5(NAMESPACE_URL, f"{_OURS}:reply:{receipt.message_id}"))
    details = str(uuid5(NAMESPACE_URL, f"{_OURS}:outcome:{receipt.message_id}"))
    reply: dict[str, Any] = {
        "resourceType": "MessageHeader",
        "id": name,
        **{key: header[key] for key in ("eventCoding", "eventUri", "eventCanonical") if key in header},
        **_sent_to(header),
        "source": {"name": "Imaging order gateway", _address(header): _OURS},
        "response": {
            "identifier": _identifier(header),
            "code": "fatal-error" if receipt.state is MessageState.FAILED else "ok",
            "details": {"reference": f"urn:uuid:{details}"},
        },
    }
    return {
        "resourceType": "Bundle",
        "id": name,
        "type": "message",
        "entry": [
            {"fullUrl": f"urn:uuid:{name}", "resource": reply},
            {"fullUrl": f"urn:uuid:{details}", "resource": {**outcome, "id": details}},
        ],
    }


def _identifier(header: Mapping[str, Any]) -> Any:
    """What the reply is to: the id of the header, in R5 an Identifier around it."""
    own = text_at(header, "id")[:_MOST_ID] or "unknown"
    return {"value": own} if _is_r5(header) else own


def _sent_to(header: Mapping[str, Any]) -> dict[str, Any]:
    """The sender's own address is the destination; nothing where it gave none."""
    address = text_at(header, "source", _address(header))
    if not address:
        return {}
    name = text_at(header, "source", "name")
    return {"destination": [{**({"name": name} if name else {}), _address(header): address}]}


def _address(header: Mapping[str, Any]) -> str:
    return "endpointUrl" if _is_r5(header) else "endpoint"


def _is_r5(header: Mapping[str, Any]) -> bool:
    source = header.get("source")
    return isinstance(source, Mapping) and ("endpointUrl" in source or "endpointReference" in source)
