"""HL7 paths held against the standard's own dictionary: what no version has is most likely a slip of the pen.

A remark, never a fault: a sender may extend a segment, and a withdrawn field is still sent somewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import hl7apy

from gateway.mapping.lint_walk import Written, trees_of
from gateway.mapping.loader import Entries, Problems, Text, did_you_mean
from gateway.mapping.paths import EVERY, BadPath, Hl7Path, Pick, Test, compile_hl7

VERSIONS = ("2.5.1", "2.8.2", "2.3.1", "2.7", "2.6", "2.5", "2.4", "2.3", "2.8.1", "2.8", "2.2", "2.1")
"""Those that are met most come first: a version is loaded when the ones before it do not know a path."""

_DEEPEST = 9  # all of a path is there


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A field, component and subcomponent of a segment; 0 where none is named."""

    segment: str
    field: int
    component: int = 0
    subcomponent: int = 0


def note_strangers(module: Entries, paths: Iterable[Written], warnings: Problems) -> None:
    """Note every path that no version of HL7 has, or not the ones that the module matches in MSH-12."""
    versions = matched_versions(module)
    for written in paths:
        for part in _parts(written):
            fault = _fault(part, versions)
            if fault:
                warnings.add(written.mark, f"'{written.text}': {fault}")
                break


def matched_versions(module: Entries) -> tuple[str, ...]:
    """The versions that the module's `match` asks for in MSH-12; all of them when it does not say."""
    match = module.find("match")
    for entry in match if isinstance(match, Entries) else ():
        if entry.key.replace(".", "-", 1) in {"MSH-12", "MSH-12.1"}:
            texts = [tree.text for tree in trees_of(entry.value) if isinstance(tree, Text)]
            known = tuple(version for version in VERSIONS if version in texts)
            return known if len(known) == len(texts) and known else VERSIONS
    return VERSIONS


def _parts(written: Written) -> Iterable[_Part]:
    """What a path speaks of: its target, and what its tests look at."""
    try:
        path = compile_hl7(_whole_text(written).replace("=$", "="), {})
    except BadPath:  # told by the reader
        return
    if path.segment.startswith("Z"):
        return
    yield from _tested(path.segment, path.which, is_segment=True, field=0)
    if path.field or path.which == EVERY or not isinstance(path.repetition, Test):
        yield from _tested(path.segment, path.repetition, is_segment=False, field=path.field)
    yield _target(path)


def _target(path: Hl7Path) -> _Part:
    return _Part(
        segment=path.segment, field=path.field, component=path.component, subcomponent=path.subcomponent
    )


def _tested(segment: str, pick: Pick, *, is_segment: bool, field: int) -> Iterable[_Part]:
    if isinstance(pick, Test):
        first, second, third = pick.numbers
        if is_segment:
            yield _Part(segment=segment, field=first, component=second, subcomponent=third)
        else:
            yield _Part(segment=segment, field=field, component=second, subcomponent=third)


def _whole_text(written: Written) -> str:
    """The path from the segment on: one that begins with a dot goes on where the item's `each` ends."""
    text = written.text
    for each in reversed(written.inside):
        if not text.startswith("."):
            break
        tail = text.removeprefix(".")
        joint = "." if "-" in each or each.startswith(".") or "." in each.partition("[")[0] else "-"
        text = f"{each}{joint}{tail}" if tail else each
    return text


def _fault(part: _Part, versions: tuple[str, ...]) -> str:
    """Why none of `versions` has the part; empty when one has it. Of several reasons the one that comes nearest."""
    nearest = (-1, "", "")
    for version in versions:
        depth, reason = _look(part, version)
        if not reason:
            return ""
        nearest = max(nearest, (depth, version, reason))
    name = f"HL7 {versions[0]} has no" if len(versions) == 1 else "no version of HL7 has"
    return f"{name} {nearest[2]}"


def _look(part: _Part, version: str) -> tuple[int, str]:
    """How deep the version follows the part, and what it does not have; nothing when it has all of it."""
    fields = _fields(part.segment, version)
    if not fields:
        return 0, f"segment {part.segment}{did_you_mean(part.segment, _segments(version))}"
    if not part.field:
        return _DEEPEST, ""
    field = fields.get(part.field)
    name = f"{part.segment}-{part.field}"
    if field is None:
        return 1, f"field {name} (the last is {part.segment}-{max(fields)})"
    return _look_inside(field, (part.component, part.subcomponent), name, 2)


def _look_inside(node: Any, numbers: tuple[int, ...], name: str, depth: int) -> tuple[int, str]:
    if not numbers or not numbers[0] or node[2] == "varies":
        return _DEEPEST, ""
    children = node[1] if node[0] == "sequence" else ()
    if not children:  # simple: its first part is all of it. Source: HL7 v2.5.1 2.8.2
        return (
            (_DEEPEST, "")
            if set(numbers) <= {0, 1}
            else (depth, f"part {numbers[0]} of {name}: it has one only")
        )
    if numbers[0] > len(children):
        return depth, f"part {numbers[0]} of {name} (the last is {len(children)})"
    return _look_inside(children[numbers[0] - 1][1], numbers[1:], f"{name}.{numbers[0]}", depth + 1)


def _segments(version: str) -> tuple[str, ...]:
    library: ModuleType = hl7apy.load_library(version)
    return tuple(name for name in library.SEGMENTS if len(name) == 3)


@cache
def _fields(segment: str, version: str) -> Mapping[int, Any]:
    """The fields of a segment by number; none when the version does not have it."""
    library: ModuleType = hl7apy.load_library(version)
    kind, fields = library.SEGMENTS.get(segment, ("", ()))[:2]
    numbered = ((name.rpartition("_")[2], reference) for name, reference, *_ in fields if kind == "sequence")
    return {int(number): reference for number, reference in numbered if number.isdecimal()}
