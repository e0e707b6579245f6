"""One order mapped: its action, its attributes, where each came from, and what is wrong with it.

A fault that holds stops nothing: every other attribute is still made, so that a person sees the whole order.
"""

import json
import re
from dataclasses import dataclass, replace

from gateway.mapping.conditions import texts_at
from gateway.mapping.dictionary import fault_in
from gateway.mapping.fhir_paths import Graph, Resource
from gateway.mapping.groups import order_groups
from gateway.mapping.module import ActionSpec, Alternative, FieldSpec, Module, ResourceSpec
from gateway.mapping.scope import Data, Element, Focus, Found, Group, Run, Scope, Unfit, text_of
from gateway.mapping.transforms.shape import Step
from gateway.model.er7 import Message
from gateway.model.order import Action, Fault, OrderRequest, Place, Provenance, Severity, Value

MISSING, NOT_IN_TABLE, UNKNOWN_KEY = "101", "103", "204"
"""Source: HL7 table 0357."""

ENDING = frozenset({Action.CANCEL, Action.DISCONTINUE, Action.START, Action.COMPLETE, Action.IGNORE})
"""Actions that need no complete order: their faults are remarks."""

_PATIENT = re.compile(r"(?:^|/)(Patient/[A-Za-z0-9\-.]{1,64})(?:/_history/[^/]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An order that the module passes over, and why."""

    because: str


def map_message(module: Module, message: Message) -> tuple[OrderRequest | Skipped, ...]:
    """What becomes of each order of an HL7 message, in its order."""
    return tuple(_map_one(module, group) for group in order_groups(message))


def map_resource(module: Module, graph: Graph, order: Resource) -> OrderRequest | Skipped:
    """What becomes of one FHIR order. What `graph.resolve` raises goes through."""
    draft = _Draft(module, Focus(order=order, variables=dict(module.site)))
    draft.follow(graph)
    outcome = _finish(draft)
    if isinstance(outcome, Skipped):
        return outcome
    identifier = order.get("id")
    return replace(
        outcome,
        service_request=f"ServiceRequest/{identifier}" if isinstance(identifier, str) and identifier else "",
        subject=_subject(order),
    )


def focus_to_match(module: Module, order: Resource) -> Focus:
    """What the `match` of a module looks at: the order, before any reference is followed."""
    return Focus(order=order, variables={**module.site, **{spec.name: None for spec in module.resources}})


def _subject(order: Resource) -> str:
    """The patient's address in the sender's FHIR base; a contained or uuid reference has none."""
    subject = order.get("subject")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    match = _PATIENT.search(reference) if isinstance(reference, str) else None
    return match[1] if match and isinstance(reference, str) and match.end() == len(reference) else ""


def _map_one(module: Module, group: Group) -> OrderRequest | Skipped:
    return _finish(_Draft(module, group))


def _finish(draft: "_Draft") -> OrderRequest | Skipped:
    module = draft.module
    for rule in module.skip:
        if rule.when.holds(draft.scope):
            return Skipped(because=rule.because)
    action = draft.read_action(module.action)
    for rule in module.hold:
        if rule.when.holds(draft.scope):
            draft.blame(Severity.HOLD, "", None, NOT_IN_TABLE, rule.because, rule.mark.short)
    for field in module.fields:
        draft.read_field(field)
    return draft.request(action)


class _Draft:
    """An order request in the making."""

    def __init__(self, module: Module, scope: Scope) -> None:
        self.module = module
        self.scope = scope
        self._attributes: dict[str, Value] = {}
        self._run = Run(scope=scope, values=self._attributes)
        self._provenance: list[Provenance] = []
        self._faults: list[Fault] = []

    def request(self, action: Action) -> OrderRequest:
        faults = self._faults
        if action in ENDING:
            faults = [
                replace(f, severity=Severity.WARN) if f.severity is Severity.HOLD else f for f in faults
            ]
        return OrderRequest(
            action=action,
            attributes=self._attributes,
            provenance=tuple(self._provenance),
            faults=tuple(faults),
            module=self.module.ref,
        )

    def blame(
        self, severity: Severity, keyword: str, place: Place | None, code: str, text: str, at: str
    ) -> None:
        self._faults.append(
            Fault(severity=severity, keyword=keyword, place=place, code=code, text=text, at=at)
        )

    def follow(self, graph: Graph) -> None:
        """Follow the module's references; each becomes a variable, None when it leads nowhere."""
        found: dict[str, Resource | None] = {}
        for spec in self.module.resources:
            self._look_from(found)
            found[spec.name] = self._resolved(graph, spec, found)
        self._look_from(found)

    def _look_from(self, found: dict[str, Resource | None]) -> None:
        order = self.scope.order if isinstance(self.scope, Focus) else {}
        names: dict[str, Resource | None] = {spec.name: None for spec in self.module.resources}
        self.scope = Focus(order=order, variables={**self.module.site, **names, **found})
        self._run = Run(scope=self.scope, values=self._attributes)

    def _resolved(
        self, graph: Graph, spec: ResourceSpec, found: dict[str, Resource | None]
    ) -> Resource | None:
        order = self.scope.order if isinstance(self.scope, Focus) else {}
        holder = found.get(spec.holder) if spec.holder else order
        references = [hit.datum for hit in spec.reference.read(self.scope) if isinstance(hit.datum, dict)]
        resource = graph.resolve(holder, references[0]) if holder is not None and references else None
        if resource is None and spec.required:
            what = "leads to no resource" if references else "is absent"
            text = f"the reference to the {spec.name} ({spec.reference.text}) {what}"
            place = spec.reference.place(self.scope)
            self.blame(
                spec.required, "", place, UNKNOWN_KEY if references else MISSING, text, spec.mark.short
            )
        return resource

    def read_action(self, spec: ActionSpec) -> Action:
        for alternative in spec.alternatives:
            found = _found(alternative, self._run)
            place = found[0].place if found else None
            try:
                data = _made(alternative, found, self._run)
                raw = text_of(data[0]).strip() if data else ""
            except Unfit as unfit:
                return self._unmapped(spec, place, f"action ({alternative.label}) {unfit.text}")
            if not raw:
                continue
            action = self._looked_up(spec, raw)
            if action is not None:
                self._provenance.append(
                    Provenance(
                        keyword="action", value=action.value, place=place, raw=raw, steps=("table",),
                        at=spec.mark.short,
                    )
                )  # fmt: skip
                return action
            return self._unmapped(spec, place, f"action ({alternative.label}) is not in the module's table")
        where = ", ".join(alternative.label for alternative in spec.alternatives)
        place = _where_to_look(spec.alternatives, self.scope)
        self.blame(Severity.HOLD, "", place, MISSING, f"action: nothing found at {where}", spec.mark.short)
        return Action.HOLD

    def _looked_up(self, spec: ActionSpec, control: str) -> Action | None:
        status = next((text for text in texts_at(spec.pair, self.scope) if text), "") if spec.pair else ""
        pair = spec.table.get(f"{control}_{status}") if status else None
        return pair or spec.table.get(control)

    def _unmapped(self, spec: ActionSpec, place: Place | None, text: str) -> Action:
        if isinstance(spec.unmapped, Action):
            return spec.unmapped
        self.blame(spec.unmapped, "", place, NOT_IN_TABLE, text, spec.mark.short)
        return Action.HOLD

    def read_field(self, field: FieldSpec) -> None:
        """Make one attribute, or note why it could not be made."""
        if field.when and not field.when.holds(self.scope):
            return
        empty: list[str] = []
        for alternative in field.alternatives:
            found = _found(alternative, self._run)
            try:
                data = _made(alternative, found, self._run)
                if found and not data and all(hit.is_null for hit in found):
                    self._delete(field, found[0], empty)
                    return
                if data and self._set(field, found, alternative, data, empty):
                    return
            except Unfit as unfit:
                place = found[0].place if found else None
                self._blame_value(field, unfit, place, alternative.label)
                return
            empty.append(alternative.label)
        self._fall_back(field, empty)

    def _set(
        self,
        field: FieldSpec,
        found: tuple[Found, ...],
        alternative: Alternative,
        data: Data,
        empty: list[str],
    ) -> bool:
        """Whether the data made a value. Raises Unfit when DICOM does not allow it."""
        value = _final(field, data)
        if not value:
            return False
        fault = fault_in(field.target, value, field.limit)
        if fault:
            raise Unfit(fault)
        self._attributes[field.target.keyword] = value
        steps = tuple(step.label for step in alternative.steps)
        self._trace(field, value, found, steps, empty)
        return True

    def _trace(
        self,
        field: FieldSpec,
        value: Value,
        found: tuple[Found, ...],
        steps: tuple[str, ...],
        empty: list[str],
    ) -> None:
        self._provenance.append(
            Provenance(
                keyword=field.target.keyword,
                value=value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
                place=found[0].place if found else None,
                raw=found[0].raw if len(found) == 1 else "~".join(hit.raw for hit in found),
                steps=steps,
                at=field.mark.short,
                empty=tuple(empty),
            )
        )

    def _delete(self, field: FieldSpec, hit: Found, empty: list[str]) -> None:
        """The sender asks to delete the value; one that is required cannot be deleted."""
        if field.required:
            text = f"{field.target.keyword} is required and {hit.place.path} asks to delete it"
            self.blame(field.required, field.target.keyword, hit.place, MISSING, text, field.mark.short)
            return
        self._attributes[field.target.keyword] = ""
        self._trace(field, "", (hit,), ("delete",), empty)

    def _fall_back(self, field: FieldSpec, empty: list[str]) -> None:
        try:
            made = _through(field.otherwise, (), self._run) if field.otherwise else ()
            value = _final(field, made) if made else ""
            fault = fault_in(field.target, value, field.limit) if value else ""
            if fault:
                raise Unfit(fault)
        except Unfit as unfit:
            self._blame_value(field, unfit, None, "else")
            return
        steps = tuple(step.label for step in field.otherwise)
        if not value and field.default:
            value, steps = field.default, ("default",)
        if value:
            self._attributes[field.target.keyword] = value
            self._trace(field, value, (), steps, empty)
        elif field.required:
            place = _where_to_look(field.alternatives, self.scope)
            text = f"{field.target.keyword} is required; nothing found at {', '.join(empty) or 'all'}"
            self.blame(field.required, field.target.keyword, place, MISSING, text, field.mark.short)

    def _blame_value(self, field: FieldSpec, unfit: Unfit, place: Place | None, label: str) -> None:
        severity = unfit.severity or field.invalid
        text = f"{field.target.keyword}: {label} {unfit.text}"
        self.blame(severity, field.target.keyword, place, unfit.code, text, field.mark.short)


def _found(alternative: Alternative, run: Run) -> tuple[Found, ...]:
    """What stands where the alternative points to; nothing when it is a fixed value or does not apply."""
    if alternative.path is None or (alternative.when and not alternative.when.holds(run.scope)):
        return ()
    return alternative.path.read(run.scope)


def _made(alternative: Alternative, found: tuple[Found, ...], run: Run) -> Data:
    """What the alternative's steps make of what was found, or of its fixed value."""
    if alternative.path is None:
        applies = not alternative.when or alternative.when.holds(run.scope)
        data: Data = (alternative.value,) if applies else ()
    else:
        data = tuple(hit.datum for hit in found if not hit.is_null)
    return _through(alternative.steps, data, run) if data else ()


def _through(steps: tuple[Step, ...], data: Data, run: Run) -> Data:
    for step in steps:
        data = step.apply(data, run)
    return data


def _final(field: FieldSpec, data: Data) -> Value:
    """The data as the attribute takes it; empty when nothing is left.

    Of several texts an attribute with one value takes the first, a block of text all of them as lines.
    Raises Unfit.
    """
    if field.target.is_sequence:
        items: list[Element] = [datum for datum in data if isinstance(datum, dict)]
        if len(items) != len(data):
            raise Unfit("is a text; a transform such as 'code' must make an item of it")
        return tuple(items)
    texts = [text for text in (text_of(datum).strip() for datum in data) if text]
    if len(texts) < 2:
        return texts[0] if texts else ""
    if field.target.is_text_block:
        return "\n".join(texts)
    if field.target.most == 1:
        return texts[0]
    if any("\\" in text for text in texts):
        raise Unfit("holds a backslash")
    return "\\".join(texts)


def _where_to_look(alternatives: tuple[Alternative, ...], scope: Scope) -> Place | None:
    """The first alternative's place in a segment that is there, else the first one's."""
    places = [place for place in (_place_of(a, scope) for a in alternatives) if place]
    return next((place for place in places if place.line), places[0] if places else None)


def _place_of(alternative: Alternative, scope: Scope) -> Place | None:
    return alternative.path.place(scope) if alternative.path else None
