"""The examples of a module run: is what comes of each message what the module's author expects?"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.mapping.apply import Skipped, focus_to_match, map_message, map_resource
from gateway.mapping.bundle import read_graph
from gateway.mapping.groups import header_group
from gateway.mapping.loader import Entries, Items, Mark, Text, Tree
from gateway.mapping.module import Example, Expectation, Module, Source
from gateway.model.er7 import read_er7
from gateway.model.errors import Malformed
from gateway.model.order import OrderRequest, Severity, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that came out otherwise than expected."""

    example: str
    mark: Mark
    text: str

    def __str__(self) -> str:
        return f"{self.mark}: example '{self.example}': {self.text}"


def run(module: Module) -> tuple[Difference, ...]:
    """Every difference between what the module's examples expect and what the module makes of them."""
    return tuple(difference for example in module.examples for difference in compare(module, example))


def inherited(child: Module, known: Mapping[str, Module]) -> tuple[Difference, ...]:
    """What the child makes otherwise of the examples of its parents, wherever it differs from what they expect.

    A child is there to differ, so this is told and is no fault. `known` are the modules by name; the child's
    `match` is not asked, as the parent's messages are rarely the child's.
    """
    parents: list[Module] = []
    while (name := (parents[-1] if parents else child).parent) in known and known[name] not in parents:
        parents.append(known[name])
    return tuple(
        difference
        for parent in parents
        if parent.source is child.source
        for example in parent.examples
        for difference in compare(replace(child, match=None), example)
    )


def compare(module: Module, example: Example) -> tuple[Difference, ...]:
    """The differences of one example; none when it is met."""
    outcomes = _outcomes(module, example)
    if isinstance(outcomes, str):
        return (Difference(example=example.name, mark=example.mark, text=outcomes),)
    if len(outcomes) != len(example.expect):
        text = f"{len(example.expect)} orders are expected, the message has {len(outcomes)}"
        return (Difference(example=example.name, mark=example.mark, text=text),)
    pairs = enumerate(zip(example.expect, outcomes, strict=True), start=1)
    return tuple(
        Difference(example=example.name, mark=mark, text=f"order {number}: {text}")
        for number, (expected, outcome) in pairs
        for mark, text in _differences(expected, outcome)
    )


def _outcomes(module: Module, example: Example) -> tuple[OrderRequest | Skipped, ...] | str:
    """What the module makes of the message; a sentence when it cannot read it or does not want it."""
    refusal = "the module's own 'match' does not accept the message"
    if module.source is Source.HL7V2:
        try:
            message = read_er7(example.message)
        except Malformed as fault:
            return f"the message is no HL7: {fault}"
        if module.match and not module.match.holds(header_group(message)):
            return refusal
        return map_message(module, message)
    try:
        graph = read_graph(json.loads(example.message))
    except (ValueError, RecursionError):
        return "the message is no JSON"
    if module.match and not all(module.match.holds(focus_to_match(module, order)) for order in graph.orders):
        return refusal
    return tuple(map_resource(module, graph, order) for order in graph.orders)


def _differences(expected: Expectation, outcome: OrderRequest | Skipped) -> Iterator[tuple[Mark, str]]:
    if isinstance(outcome, Skipped):
        if expected.skip is None:
            yield expected.mark, f"it was skipped: {outcome.because}"
        elif expected.skip not in {"", outcome.because}:
            yield expected.mark, f"skipped because '{outcome.because}', expected '{expected.skip}'"
        return
    if expected.skip is not None:
        yield expected.mark, "it was not skipped"
        return
    if expected.action is not None and expected.action != outcome.action:
        yield expected.mark, f"action is {outcome.action}, expected {expected.action}"
    yield from _fault_differences(expected, outcome)
    for value in expected.values:
        found = outcome.attributes.get(value.keyword)
        if not _is_met(value.value, found):
            origin = _origin(value.keyword, outcome)
            yield value.mark, f"{value.keyword} is {_shown(found)}, expected {_wanted(value.value)}{origin}"


def _origin(keyword: str, outcome: OrderRequest) -> str:
    """Where the value came from, or why there is none; empty when the module does not speak of it."""
    for one in outcome.provenance:
        if one.keyword == keyword:
            place = f"{one.place} " if one.place else ""
            steps = f"{', '.join(one.steps)}; " if one.steps else ""
            return f" (from {place}{steps}{one.at})" if place else f" ({steps}{one.at})"
    fault = next((fault for fault in outcome.faults if fault.keyword == keyword), None)
    return f" ({fault})" if fault else ""


def _fault_differences(expected: Expectation, outcome: OrderRequest) -> Iterator[tuple[Mark, str]]:
    held = {_name(f.keyword): f for f in outcome.faults if f.severity is not Severity.WARN}
    for name in expected.held:
        if name not in held:
            yield expected.mark, f"{name} does not hold it"
    for name, fault in held.items():
        if name not in expected.held:
            yield expected.mark, f"it is held: {fault}"
    if expected.warned is None:
        return
    warned = {_name(f.keyword) for f in outcome.faults if f.severity is Severity.WARN}
    if warned != set(expected.warned):
        yield expected.mark, f"warned of {sorted(warned)}, expected {sorted(expected.warned)}"


def _name(keyword: str) -> str:
    return keyword or "order"


def _is_met(expected: Tree, found: Value | None) -> bool:
    """Whether the value is the expected one; of an item only the named keywords count."""
    if isinstance(expected, Text):
        return found == expected.text
    items = expected.items if isinstance(expected, Items) else (expected,)
    if not isinstance(found, tuple) or len(items) != len(found):
        return False
    return all(
        isinstance(item, Entries) and all(_is_met(entry.value, made.get(entry.key)) for entry in item)
        for item, made in zip(items, found, strict=True)
    )


def _shown(value: Value | None) -> str:
    if value is None:
        return "absent"
    return f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _wanted(tree: Tree) -> str:
    if isinstance(tree, Text):
        return "absent" if tree.text is None else f"'{tree.text}'"
    return json.dumps(_plain(tree), ensure_ascii=False)


def _plain(tree: Tree) -> object:
    if isinstance(tree, Text):
        return tree.text
    if isinstance(tree, Items):
        return [_plain(item) for item in tree.items]
    return {entry.key: _plain(entry.value) for entry in tree}
