"""One order mapped: its action, its attributes, where each came from, and what is wrong with it."""

from dataclasses import dataclass, replace

from gateway.mapping.conditions import texts_at
from gateway.mapping.fhir_paths import Graph, Resource
from gateway.mapping.filling import MISSING, Filling, Notes, made_of, read_found, where_to_look
from gateway.mapping.groups import GROUPS
from gateway.mapping.module import ActionSpec, Module, ResourceSpec
from gateway.mapping.scope import Focus, Group, Scope, Unfit, text_of
from gateway.mapping.service_request import (
    changed_at,
    encounter_address,
    own_address,
    patient_address,
    request_address,
    version_of,
)
from gateway.model.er7 import Message
from gateway.model.order import Action, OrderRequest, Place, Provenance, Severity, UnknownCode

NOT_IN_TABLE, UNKNOWN_KEY = "103", "204"
"""Source: HL7 table 0357."""

ENDING = frozenset(
    {Action.CANCEL, Action.DISCONTINUE, Action.START, Action.COMPLETE, Action.IGNORE, Action.UNSCHEDULE,
     Action.ARRIVE}
)  # fmt: skip
"""Actions that need no complete order: their faults are remarks."""

PARTIAL = frozenset({Action.RESCHEDULE, Action.UNSCHEDULE, Action.ARRIVE})
"""Actions on an order that is known: what their message leaves out is no fault at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An order that the module passes over, and why."""

    because: str


def map_message(module: Module, message: Message) -> tuple[OrderRequest | Skipped, ...]:
    """What becomes of each order of an HL7 message, in its order."""
    return tuple(_map_one(module, group) for group in GROUPS[module.each](message))


def map_resource(module: Module, graph: Graph, order: Resource) -> OrderRequest | Skipped:
    """What becomes of one FHIR order. What `graph.resolve` raises goes through."""
    draft = _Draft(module, Focus(order=order, variables=dict(module.site)))
    draft.follow(graph)
    outcome = _finish(draft)
    if isinstance(outcome, Skipped):
        return outcome
    return replace(
        outcome,
        service_request=request_address(order, graph.resolve),
        subject=patient_address(order, graph.resolve),
        encounter=encounter_address(order, graph.resolve),
        address=own_address(order),
        version=version_of(order),
        changed_at=changed_at(order),
    )


def focus_to_match(module: Module, order: Resource) -> Focus:
    """What the `match` of a module looks at: the order, before any reference is followed."""
    return Focus(order=order, variables={**module.site, **{spec.name: None for spec in module.resources}})


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
            draft.notes.blame(Severity.HOLD, "", None, NOT_IN_TABLE, rule.because, rule.mark.short)
    for field in module.fields:
        draft.filling.fill(field)
    return draft.request(action)


class _Draft:
    """An order request in the making."""

    def __init__(self, module: Module, scope: Scope) -> None:
        self.module = module
        self.notes = Notes()
        self.filling = Filling(scope, self.notes)

    @property
    def scope(self) -> Scope:
        return self.filling.scope

    def request(self, action: Action) -> OrderRequest:
        faults = self.notes.faults
        if action in PARTIAL:
            faults = [fault for fault in faults if fault.code != MISSING or not fault.keyword]
        if action in ENDING:
            faults = [
                replace(f, severity=Severity.WARN) if f.severity is Severity.HOLD else f for f in faults
            ]
        return OrderRequest(
            action=action,
            attributes=self.filling.values,
            provenance=tuple(self.notes.provenance),
            faults=tuple(faults),
            module=self.module.ref,
            unknown=tuple(self.filling.run.unknown),
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
        scope = Focus(order=order, variables={**self.module.site, **names, **found})
        self.filling = Filling(scope, self.notes)

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
            self.notes.blame(
                spec.required, "", place, UNKNOWN_KEY if references else MISSING, text, spec.mark.short
            )
        return resource

    def read_action(self, spec: ActionSpec) -> Action:
        for alternative in spec.alternatives:
            found = read_found(alternative, self.filling.run)
            place = found[0].place if found else None
            try:
                data = made_of(alternative, found, self.filling.run)
                raw = text_of(data[0]).strip() if data else ""
            except Unfit as unfit:
                return self._unmapped(spec, place, f"action ({alternative.label}) {unfit.text}")
            if not raw:
                continue
            row, action = self._looked_up(spec, raw)
            if action is not None:
                self.notes.provenance.append(
                    Provenance(
                        keyword="action", value=action.value, place=place, raw=raw, steps=("table",),
                        at=spec.mark.short,
                    )
                )  # fmt: skip
                return action
            if not isinstance(spec.unmapped, Action):
                self.filling.run.unknown.append(UnknownCode(table="action", code=row))
            label = (
                alternative.label
                if row == raw or not spec.pair
                else f"{alternative.label} with {spec.pair.text}"
            )
            return self._unmapped(spec, place, f"action ({label}) is not in the module's table")
        where = ", ".join(alternative.label for alternative in spec.alternatives)
        place = where_to_look(spec.alternatives, self.scope)
        self.notes.blame(
            Severity.HOLD, "", place, MISSING, f"action: nothing found at {where}", spec.mark.short
        )
        return Action.HOLD

    def _looked_up(self, spec: ActionSpec, control: str) -> tuple[str, Action | None]:
        """The row that counts, and its action; None where the table has none for it."""
        status = next((text for text in texts_at(spec.pair, self.scope) if text), "") if spec.pair else ""
        pair = f"{control}_{status}"
        if status and pair in spec.table:
            return pair, spec.table[pair]
        if status and pair.casefold() in spec.folded:
            return pair, spec.folded[pair.casefold()]
        return control, spec.table.get(control)

    def _unmapped(self, spec: ActionSpec, place: Place | None, text: str) -> Action:
        if isinstance(spec.unmapped, Action):
            return spec.unmapped
        self.notes.blame(spec.unmapped, "", place, NOT_IN_TABLE, text, spec.mark.short)
        return Action.HOLD
