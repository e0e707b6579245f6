"""A module proposed from one real message: what the shipped one finds, what other places offer, what is missing.

The draft extends the shipped module, so it holds only what this sender does otherwise. Its example is the message
itself with what the draft makes of it, so it is proved from the start and a person has only to read it.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.mapping.apply import Skipped, focus_to_match, map_message, map_resource
from gateway.mapping.bundle import read_graph
from gateway.mapping.conditions import texts_at
from gateway.mapping.fhir_paths import Graph, compile_fhirpath
from gateway.mapping.groups import header_group, order_groups
from gateway.mapping.module import Module
from gateway.mapping.paths import compile_hl7
from gateway.mapping.replay import Readable
from gateway.mapping.scope import Path, Scope
from gateway.mapping.spans import er7_text
from gateway.model.errors import Invalid
from gateway.model.order import Action, OrderRequest, Severity, Value

PARENTS = {True: "orders-fhir", False: "orders-hl7"}
"""The shipped module a draft extends, for FHIR and for HL7."""

SOUGHT = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "RequestedProcedureDescription",
    "Modality",
    "ScheduledProcedureStepStartDateTime",
    "ScheduledStationAETitle",
    "ReferringPhysicianName",
    "RequestedProcedurePriority",
)
"""What a draft says of each message: found, found elsewhere, or not found."""

ELSEWHERE = {
    "PatientID": ("PID-4.1", "PID-2.1", "PID-18.1", "MRG-1.1"),
    "PatientName": ("PID-9", "MRG-7"),
    "AccessionNumber": ("OBR-20.1", "OBR-19.1", "ORC-4.1", "OBR-2.1", "ORC-2.1", "OBR-4.1"),
    "Modality": ("OBR-21.1", "OBR-19.1", "OBR-20.1", "OBR-15.1", "OBR-4.1", "OBR-44.1", "IPC-5.2"),
    "ScheduledProcedureStepStartDateTime": (
        "OBR-7", "OBR-6", "ORC-15", "SCH-11.4", "AIS-4", "RGS-1", "ORC-9", "OBR-22", "PV1-44",
    ),
    "ReferringPhysicianName": ("PV1-7", "PV1-9", "OBR-28", "PV1-17"),
}  # fmt: skip
"""Places of HL7 messages where senders put it that the standard does not mean for it, the likeliest first."""

ELSEWHERE_FHIR = {
    "PatientID": ("subject.identifier.value", "subject.reference"),
    "PatientName": ("subject.display",),
    "AccessionNumber": ("identifier.value", "requisition.value", "id"),
    "ScheduledProcedureStepStartDateTime": ("authoredOn",),
}
"""The same for a ServiceRequest."""

MODALITY = re.compile(r"(?i)CR|CT|DX|MG|MR|NM|OPG|OT|PT|PX|RF|US|XA|BMD|IO|ES|ECG|IVUS|OCT")
DAY = re.compile(r"\d{8}|\d{4}-\d{2}-\d{2}")

_SENDERS = ("MSH-3.1", "MSH-4.1", "MSH-5.1", "MSH-6.1", "MSH-9.2", "MSH-12.1")
_SENDERS_FHIR = (
    "meta.source",
    "identifier.system",
    "identifier.assigner.display",
    "requester.display",
    "code.coding.system",
    "code.text",
    "status",
    "priority",
    "id",
)
"""What may tell a sender apart, the best first; three of them outrank the shipped modules."""

_OF_PATIENTS = frozenset({Action.UPDATE_PATIENT, Action.MERGE})
_NAME = re.compile(r"[^a-z0-9]+")

Load = Callable[[str], Module]
"""The module of a text. Raises Invalid with the faults of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Find:
    """What the draft says of one attribute. `path` is "" when the parent finds it or nobody does."""

    keyword: str
    where: str  # what the parent found it at; "" when it did not
    path: str


def propose(readable: Readable, parent: Module, load: Load, *, name: str = "") -> str:
    """The text of a module for the sender of this message.

    `load` reads a text as a module. Raises Invalid when there is no order in the message, or the draft cannot be read.
    """
    readable = _as_example(readable)
    requests = _orders(parent, readable)
    senders = _senders(readable, parent)
    chosen = name or _name_of(senders)
    finds = [_find(keyword, requests, readable, parent) for keyword in SOUGHT]
    head = _head(chosen, readable, parent, senders)
    while True:
        text = head + _fields(finds, parent)
        module = load(text)
        unfit = _unfit(finds, _outcomes(module, readable))
        if not unfit:
            return text + _example(readable, module)
        finds = [replace(find, path="") if find.keyword in unfit else find for find in finds]


def _orders(parent: Module, readable: Readable) -> list[OrderRequest]:
    """The orders of the message as the parent maps them. Raises Invalid when there is none."""
    outcomes = _outcomes(parent, readable)
    reasons = dict.fromkeys(one.because for one in outcomes if isinstance(one, Skipped))
    requests = [one for one in outcomes if isinstance(one, OrderRequest)]
    if all(request.action in _OF_PATIENTS for request in requests):
        skipped = f"; {parent.name} skips: {', '.join(reasons)}" if reasons else ""
        raise Invalid(f"the message holds no order to map{skipped}")
    return requests


def _as_example(readable: Readable) -> Readable:
    """The message as the examples of a module are read: without a server behind it."""
    if not isinstance(readable.content, Graph):
        return readable
    document = json.loads(readable.text)
    return Readable(text=readable.text, content=read_graph(document), document=document)


def _unfit(finds: Sequence[_Find], outcomes: Sequence[OrderRequest | Skipped]) -> set[str]:
    """The attributes that were sought elsewhere and are at fault now."""
    faults = (fault for one in outcomes if isinstance(one, OrderRequest) for fault in one.faults)
    return {fault.keyword for fault in faults} & {find.keyword for find in finds if find.path}


def _outcomes(module: Module, readable: Readable) -> Sequence[OrderRequest | Skipped]:
    content = readable.content
    if isinstance(content, Graph):
        return tuple(map_resource(module, content, order) for order in content.orders)
    return map_message(module, content)


def _find(keyword: str, requests: Sequence[OrderRequest], readable: Readable, parent: Module) -> _Find:
    """Where the attribute is: told by the trace of the parent, else sought elsewhere."""
    lacking = [n for n, request in enumerate(requests) if not request.text(keyword)]
    if not lacking:
        entry = next((e for e in requests[0].provenance if e.keyword == keyword), None)
        where = entry.place.path if entry and entry.place else "a fixed value"
        return _Find(keyword=keyword, where=where, path="")
    is_fhir = isinstance(readable.content, Graph)
    for text in (ELSEWHERE_FHIR if is_fhir else ELSEWHERE).get(keyword, ()):
        path: Path = compile_fhirpath(text, frozenset()) if is_fhir else compile_hl7(text, {})
        scopes = _scopes(readable, parent)
        if all(_looks_like(keyword, texts_at(path, scope)) for scope in scopes):
            return _Find(keyword=keyword, where="", path=text)
    return _Find(keyword=keyword, where="", path="")


def _scopes(readable: Readable, parent: Module) -> tuple[Scope, ...]:
    content = readable.content
    if isinstance(content, Graph):
        return tuple(focus_to_match(parent, order) for order in content.orders)
    return tuple(order_groups(content))


def _looks_like(keyword: str, texts: list[str]) -> bool:
    """Whether the texts found could be the attribute's value."""
    first = next((text for text in texts if text), "")
    if keyword == "Modality":
        return MODALITY.fullmatch(first) is not None
    if keyword == "ScheduledProcedureStepStartDateTime":
        return DAY.match(first) is not None
    if keyword == "AccessionNumber":
        return len(first) <= 16 and re.search(r"\d", first) is not None and "\\" not in first
    return 0 < len(first) <= 64 and "\\" not in first


def _senders(readable: Readable, parent: Module) -> dict[str, list[str]]:
    """What tells this sender apart: path to the values in this message, at most three, in every order of it."""
    is_fhir = isinstance(readable.content, Graph)
    scopes: tuple[Scope, ...] = (
        _scopes(readable, parent)
        if isinstance(readable.content, Graph)
        else (header_group(readable.content),)
    )
    found: dict[str, list[str]] = {}
    for text in _SENDERS_FHIR if is_fhir else _SENDERS:
        path: Path = compile_fhirpath(text, frozenset()) if is_fhir else compile_hl7(text, {})
        values = [next((t for t in texts_at(path, scope) if t), "") for scope in scopes]
        if all(values) and len(found) < (3 if is_fhir else 2):
            found[text] = list(dict.fromkeys(values))
    return found


def _name_of(senders: dict[str, list[str]]) -> str:
    words = [_NAME.sub("-", values[0].lower()).strip("-") for values in senders.values()]
    return "-".join(dict.fromkeys(word for word in words if word))[:40].strip("-") or "new-sender"


def _head(name: str, readable: Readable, parent: Module, senders: dict[str, list[str]]) -> str:
    kind = "FHIR" if isinstance(readable.content, Graph) else "HL7 v2"
    match = {path: _flow(values) for path, values in senders.items()}
    match |= _kinds(readable, parent)
    lines = [
        f"# Drafted from one {kind} message. Read every line, and try it: gateway map test, gateway map explain",
        f"mapping: {_quoted(name)}",
        f"about: {_quoted(f'Orders of {name}, drafted from one message')}",
        f"extends: {parent.name}",
        "# This module serves the messages that look so; keep what tells this sender from the others:",
        "match:",
        *(f"  {_quoted(path)}: {value}" for path, value in match.items()),
    ]
    return "\n".join(lines) + "\n"


def _kinds(readable: Readable, parent: Module) -> dict[str, str]:
    """What the message has to be where that is not what the parent is for."""
    content = readable.content
    scopes = _scopes(readable, parent) if isinstance(content, Graph) else (header_group(content),)
    if parent.match is None or all(parent.match.holds(scope) for scope in scopes):
        return {}
    if not isinstance(content, Graph):
        return {"MSH-9.1": _quoted(content.header.value(9, 1))}
    names = {"resource": "resourceType", "intent": "intent"}
    found = {key: {str(order.get(name) or "") for order in content.orders} for key, name in names.items()}
    return {key: "null" if "" in values else _flow(sorted(values)) for key, values in found.items()}


def _fields(finds: Sequence[_Find], parent: Module) -> str:
    """The attributes found, as comments where the parent finds them and as fields where this sender differs."""
    overrides = [find for find in finds if find.path]
    lines = ["fields:" if overrides else "# fields:"]
    for find in finds:
        if find.path:
            lines.append(
                f"  {find.keyword}: {_override(find, parent)}  # check this: not where the standard has it"
            )
        elif find.where:
            lines.append(f"  # {find.keyword}: found at {find.where}, as in {parent.name}")
        else:
            lines.append(f"  # not found: {find.keyword}")
    return "\n".join(lines) + "\n"


def _override(find: _Find, parent: Module) -> str:
    """The parent's places first, then the new one; of a modality only the new one, for the others held no modality."""
    field = next((one for one in parent.fields if one.target.keyword == find.keyword), None)
    kept = [one.label for one in field.alternatives if one.path and not one.when] if field else []
    return f"{{from: {_flow([find.path] if find.keyword == 'Modality' else [*kept, find.path])}}}"


def _example(readable: Readable, module: Module) -> str:
    """The message as the module's example, with all that comes of it."""
    content = readable.content
    if isinstance(content, Graph):
        message = json.dumps(readable.document, ensure_ascii=False, indent=1)
    else:
        message = er7_text(readable.text).rstrip("\n")
    lines = [
        "examples:",
        "  - name: the message this module was drafted from",
        f"    message: {_block(message)}",
    ]
    lines.append("    expect:")
    for outcome in _outcomes(module, readable):
        lines += [f"      {'- ' if n == 0 else '  '}{line}" for n, line in enumerate(_expected(outcome))]
    return "\n".join(lines) + "\n"


def _expected(outcome: OrderRequest | Skipped) -> Iterator[str]:
    if isinstance(outcome, Skipped):
        yield f"skip: {_quoted(outcome.because)}"
        return
    yield f"action: {outcome.action}"
    held = dict.fromkeys(f.keyword or "order" for f in outcome.faults if f.severity is not Severity.WARN)
    if held:
        yield f"held: [{', '.join(held)}]"
    for keyword, value in outcome.attributes.items():
        yield f"{keyword}: {_value(value)}"


def _value(value: Value) -> str:
    if isinstance(value, str):
        return _quoted(value)
    items = (", ".join(f"{key}: {_value(inner)}" for key, inner in item.items()) for item in value)
    return f"[{', '.join(f'{{{item}}}' for item in items)}]"


def _flow(values: Sequence[str]) -> str:
    return _quoted(values[0]) if len(values) == 1 else f"[{', '.join(_quoted(value) for value in values)}]"


def _block(text: str) -> str:
    """The text as a literal block where YAML keeps it as it is, else quoted."""
    lines = text.split("\n")
    is_plain = all(char.isprintable() or char in "\n\t" for char in text) and not lines[0].startswith(
        (" ", "\t")
    )
    if not is_plain or not all(line.strip() for line in lines):
        return _quoted(text)
    return "|\n" + "\n".join(f"      {line}" for line in lines)


def _quoted(text: str) -> str:
    """The text as YAML reads it back: bare where it is a plain word, else in double quotes."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_./-]*", text) and text not in {"null", "~"}:
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char == "\n":
        return "\\n"
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
