"""What some senders put around a resource: a Pub/Sub message, Aidbox's own notification, Parameters."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.classify import BUNDLE, address_in, check_type, read_tree, text_at
from gateway.mapping.fhir_paths import Resource
from gateway.model.errors import Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What was inside."""

    resource: Resource  # {} when none was
    event: str = ""  # what the sender calls this delivery for good
    named: str = ""  # "ServiceRequest/9": a resource that is only named
    withdrawn: str = ""  # one that is there no more


def opened(tree: Resource) -> Opened:
    """The content of an envelope; what is in none comes back as it is. Raises Malformed."""
    if isinstance(tree.get("message"), dict) and "resourceType" not in tree:
        return _pubsub(tree["message"])
    if "resourceType" not in tree and "subscription" in tree and isinstance(tree.get("type"), str):
        return _aidbox(tree)
    if text_at(tree, "resourceType") == "Parameters":
        return Opened(resource=_gathered(tree))
    check_type(tree)
    return Opened(resource=tree)


def _pubsub(message: Mapping[str, Any]) -> Opened:
    """Source: Google Cloud Healthcare API, FHIR Pub/Sub notifications: the name of a resource, or all of it."""
    event = text_at(message, "messageId") or text_at(message, "message_id")
    try:
        content = base64.b64decode(text_at(message, "data"), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("message.data: is no base64") from None
    is_deleted = text_at(message, "attributes", "action").startswith("Delete")
    if content.lstrip()[:1] == b"{":
        resource = read_tree(content)
        own = f"{text_at(resource, 'resourceType')}/{text_at(resource, 'id')}"
        return Opened(
            resource={} if is_deleted else resource, event=event, withdrawn=own if is_deleted else ""
        )
    address = address_in(content.decode("utf-8", errors="replace").strip())
    if not address:
        raise Malformed("message.data: is neither a resource nor the name of one")
    return Opened(
        resource={},
        event=event,
        named="" if is_deleted else address,
        withdrawn=address if is_deleted else "",
    )


def _aidbox(tree: Mapping[str, Any]) -> Opened:
    """Source: Aidbox documentation, SubsSubscription: a handshake, or a notification with the resource."""
    inner = tree.get("resource")
    if not isinstance(inner, dict):
        return Opened(resource={})
    event = tree.get("event")
    what = event if isinstance(event, str) else text_at(event, "action") if isinstance(event, dict) else ""
    if "delete" in what.lower():
        return Opened(resource={}, withdrawn=f"{text_at(inner, 'resourceType')}/{text_at(inner, 'id')}")
    return Opened(resource=inner)


def _gathered(parameters: Resource) -> Resource:
    """The resources of an operation's input, such as $create-order's, as a Bundle. Source: FHIR R4 parameters.html."""
    several = parameters.get("parameter")
    found = several if isinstance(several, list) else []
    inner = [one.get("resource") for one in found if isinstance(one, dict)]
    entries = [{"resource": resource} for resource in inner if isinstance(resource, dict)]
    return {"resourceType": BUNDLE, "type": "collection", "entry": entries}
