"""A module's tree walked: every path that is written in it, every field, every step."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.mapping.dictionary import Target, find_target
from gateway.mapping.loader import Entries, Items, Mark, Text, Tree

_IN_BRACES = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A path as it stands in the module. `inside` are the `each` of the items around it, outermost first."""

    text: str
    mark: Mark
    inside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field as it stands in the module, those of items included."""

    target: Target
    entries: Entries
    mark: Mark
    inside: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A transform in a `do`: its name, the text of its first argument ("" without), and its place."""

    name: str
    argument: str
    mark: Mark


def trees_of(tree: Tree | None) -> tuple[Tree, ...]:
    """One tree, or those of a list; none when there is nothing."""
    if tree is None:
        return ()
    return tree.items if isinstance(tree, Items) else (tree,)


def entries_at(tree: Entries, key: str) -> Entries | None:
    """The mapping below `key`; None when something else stands there."""
    found = tree.find(key)
    return found if isinstance(found, Entries) else None


def text_at(tree: Entries, key: str) -> Text | None:
    """The text below `key`; None when there is none."""
    found = tree.find(key)
    return found if isinstance(found, Text) and found.text else None


def uses_of(tree: Tree | None) -> Iterator[Use]:
    """The transforms of a `do`, in order."""
    for step in trees_of(tree):
        if isinstance(step, Text) and step.text:
            yield Use(name=step.text, argument="", mark=step.mark)
        elif isinstance(step, Entries) and len(step.entries) == 1:
            entry = step.entries[0]
            value = entry.value
            below = value.entries[0].value if isinstance(value, Entries) and value.entries else value
            argument = below.text or "" if isinstance(below, Text) else ""
            yield Use(name=entry.key, argument=argument, mark=entry.mark)


def fields_of(module: Entries) -> Iterator[Field]:
    """Every field whose keyword DICOM knows."""
    yield from _fields(entries_at(module, "fields"), ())


def _fields(tree: Entries | None, inside: tuple[str, ...]) -> Iterator[Field]:
    for entry in tree or ():
        target = find_target(entry.key)
        if not isinstance(entry.value, Entries):
            continue
        if target:
            yield Field(target=target, entries=entry.value, mark=entry.mark, inside=inside)
        each = text_at(entry.value, "each")
        around = (*inside, each.text or "") if each else inside
        yield from _fields(entries_at(entry.value, "item"), around)


def paths_of(module: Entries) -> Iterator[Written]:
    """Every path of the module."""
    yield from _in_condition(module.find("match"), ())
    for key in ("skip", "hold"):
        for rule in trees_of(module.find(key)):
            if isinstance(rule, Entries):
                yield from _in_condition(rule.find("when"), ())
    for resource in entries_at(module, "resources") or ():
        if isinstance(resource.value, Entries):
            yield from _texts(resource.value.find("reference"), ())
    action = entries_at(module, "action")
    if action:
        yield from _in_from(action.find("from"), ())
        yield from _texts(action.find("pair"), ())
        yield from _in_steps(action.find("do"), ())
    for field in fields_of(module):
        yield from _in_field(field)


def _in_field(field: Field) -> Iterator[Written]:
    entries, inside = field.entries, field.inside
    yield from _in_from(entries.find("from"), inside)
    yield from _in_condition(entries.find("when"), inside)
    yield from _in_steps(entries.find("do"), inside)
    yield from _in_steps(entries.find("else"), inside)
    each = text_at(entries, "each")
    if each:
        yield Written(text=each.text or "", mark=each.mark, inside=inside)
        yield from _in_condition(entries.find("only"), (*inside, each.text or ""))


def _in_from(tree: Tree | None, inside: tuple[str, ...]) -> Iterator[Written]:
    for alternative in trees_of(tree):
        if isinstance(alternative, Entries):
            yield from _texts(alternative.find("from"), inside)
            yield from _in_condition(alternative.find("when"), inside)
            yield from _in_steps(alternative.find("do"), inside)
        else:
            yield from _texts(alternative, inside)


def _in_steps(tree: Tree | None, inside: tuple[str, ...]) -> Iterator[Written]:
    for use in uses_of(tree):
        if use.name == "template":
            for path in _IN_BRACES.findall(use.argument):
                yield Written(text=path, mark=use.mark, inside=inside)


def _in_condition(tree: Tree | None, inside: tuple[str, ...]) -> Iterator[Written]:
    for entry in tree if isinstance(tree, Entries) else ():
        if entry.key == "empty":
            yield from _texts(entry.value, inside)
        elif entry.key in {"not", "any"}:
            for part in trees_of(entry.value):
                yield from _in_condition(part, inside)
        else:
            path = "resourceType" if entry.key == "resource" else entry.key
            yield Written(text=path, mark=entry.mark, inside=inside)


def _texts(tree: Tree | None, inside: tuple[str, ...]) -> Iterator[Written]:
    for text in trees_of(tree):
        if isinstance(text, Text) and text.text:
            yield Written(text=text.text, mark=text.mark, inside=inside)
