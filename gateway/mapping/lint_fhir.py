"""FHIRPath walked along the elements of the resources: a name that no resource has gives nothing, silently.

The walk follows what each part may be; where that cannot be known (`contained`, `children()`) it asks no more.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeAlias

from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.parser import parse

from gateway.mapping.lint_elements import Kind, is_a, parts_of, targets, types
from gateway.mapping.lint_walk import Written, entries_at, text_at
from gateway.mapping.loader import Entries, Problems, did_you_mean
from gateway.mapping.scope import ITEM

Kinds: TypeAlias = frozenset[Kind] | None
"""What an expression may give; None when it cannot be known."""

RELEASES = {"R4": "r4", "R4B": "r4", "R5": "r5"}
"""What `fhir_version` may say, and the library's name for it."""

FUNCTIONS = frozenset(name for name in invocation_registry if name.isidentifier() and not name.endswith("Op"))

_OVER_ITEMS = frozenset({"where", "select", "all", "exists", "repeat", "aggregate", "iif", "coalesce"})
"""Functions whose arguments look at each of what stands before the dot."""
_SAME = frozenset(
    {"where", "first", "last", "tail", "skip", "take", "single", "distinct", "trace", "intersect", "exclude"}
)
_UNKNOWN = frozenset({"children", "descendants", "repeat", "aggregate", "coalesce", "type"})
_ANY = frozenset({"Resource", "DomainResource", "Element", "BackboneElement"})


class UnknownName(Exception):
    """A name that stands for nothing; the message says which and why."""


def note_strangers(module: Entries, paths: Iterable[Written], faults: Problems) -> None:
    """Note every path that names an element, a function or a type that is not there.

    A module that does not name its `fhir_version` may use what either release has.
    """
    version = text_at(module, "fhir_version")
    if version and version.text not in RELEASES:
        faults.add(version.mark, f"fhir_version is one of {', '.join(RELEASES)}")
    named = RELEASES.get(version.text or "") if version else None
    walks = [_Walk(module, release) for release in ([named] if named else dict.fromkeys(RELEASES.values()))]
    for written in paths:
        unknown = [fault for fault in (_fault(walk, written) for walk in walks) if fault]
        if len(unknown) == len(walks):
            faults.add(written.mark, f"'{written.text}': {unknown[0]}")


def _fault(walk: "_Walk", written: Written) -> str:
    try:
        walk.kinds(written.text, written.inside)
    except UnknownName as fault:
        return str(fault)
    return ""


class _Walk:
    """What the expressions of one module may give."""

    def __init__(self, module: Entries, release: str) -> None:
        each = text_at(module, "each")
        self._release = release
        order = (each.text if each else "") or "ServiceRequest"
        self._order: Kinds = _all_of({order}) if order in types(self._release) else None
        self._references = {
            entry.key: text.text or ""
            for entry in entries_at(module, "resources") or ()
            if isinstance(entry.value, Entries) and (text := text_at(entry.value, "reference"))
        }
        self._resources: dict[str, Kinds] = {}

    def kinds(self, text: str, inside: tuple[str, ...] = ()) -> Kinds:
        """What an expression may give. Raises UnknownName."""
        tree = _tree(text)
        if tree is None:
            return None
        return _Expression(self, inside).of(tree, self._order)

    def root(self) -> Kinds:
        """What the order may be."""
        return self._order

    def release(self) -> str:
        """Of FHIR, as the library names it."""
        return self._release

    def variable(self, name: str, inside: tuple[str, ...]) -> Kinds:
        """What `%name` may be."""
        if name in {"context", "resource", "rootResource"}:
            return self._order
        if name == ITEM and inside:
            return self._quietly(inside[-1], inside[:-1])
        if name not in self._references:
            return None
        if name not in self._resources:
            self._resources[name] = None  # a reference that goes round ends here
            self._resources[name] = self._led_to(name)
        return self._resources[name]

    def _led_to(self, name: str) -> Kinds:
        """The resources that a reference leads to: the one it is named after, else all that may stand there."""
        references = self._quietly(self._references[name], ()) or frozenset()
        found = frozenset(kind for reference in references for kind in targets(reference.element))
        named = name[:1].upper() + name[1:]
        if named in found or (not found and is_a(named, "Resource", self._release)):
            return _all_of({named})
        return _all_of(found) if found else None

    def _quietly(self, text: str, inside: tuple[str, ...]) -> Kinds:
        try:
            return self.kinds(text, inside)
        except UnknownName:  # told where it stands
            return None


class _Expression:
    """One expression, from its tree."""

    def __init__(self, walk: _Walk, inside: tuple[str, ...]) -> None:
        self._walk = walk
        self._inside = inside
        self._release = walk.release()

    def of(self, node: Mapping[str, Any], focus: Kinds, *, is_first: bool = True) -> Kinds:
        """What a node may give where `focus` stands before it. Raises UnknownName."""
        children = node.get("children", [])
        match node.get("type"):
            case "InvocationExpression":
                before = self.of(children[0], focus, is_first=is_first)
                found = self.of(children[1], before, is_first=False)
            case "MemberInvocation":
                found = self._member(_name(children[0]), focus, is_first=is_first)
            case "FunctionInvocation":
                found = self._function(children[0], focus)
            case "ExternalConstantTerm":
                found = self._walk.variable(_name(children[0]["children"][0]), self._inside)
            case "ThisInvocation":
                found = focus
            case "IndexerExpression":
                self.of(children[1], focus)
                found = self.of(children[0], focus, is_first=is_first)
            case "TypeExpression":
                wanted = self._type(children[1]["text"])
                before = self.of(children[0], focus)
                found = self._narrowed(before, wanted) if node["terminalNodeText"] == ["as"] else _of_system()
            case _:
                found = self._joined(node, focus, is_first=is_first)
        return found

    def _joined(self, node: Mapping[str, Any], focus: Kinds, *, is_first: bool) -> Kinds:
        """Operators and brackets; every side is looked at."""
        kind = node.get("type")
        found = [self.of(child, focus, is_first=is_first) for child in node.get("children", [])]
        if kind in {None, "UnionExpression", "TermExpression", "InvocationTerm", "ParenthesizedTerm"}:
            return None if None in found else frozenset().union(*(kinds or () for kinds in found))
        return _of_system() if kind.endswith("Expression") or kind == "LiteralTerm" else None

    def _member(self, name: str, focus: Kinds, *, is_first: bool) -> Kinds:
        if focus is None:
            return None
        if is_first and any(is_a(kind.type, name, self._release) for kind in focus):
            return focus
        if any(kind.type in _ANY for kind in focus):
            return None
        parts = [(kind, parts_of(kind.type, self._release)) for kind in focus]
        found = [(kind, known[name]) for kind, known in parts if name in known]
        if not found:
            if name == "resourceType" and any(is_a(kind.type, "Resource", self._release) for kind in focus):
                return _of_system()
            raise UnknownName(_no_element(name, focus, {part for _, known in parts for part in known}))
        return frozenset(part for kind, kinds in found for part in _kept(kind, kinds))

    def _function(self, node: Mapping[str, Any], focus: Kinds) -> Kinds:
        name = _name(node["children"][0])
        if name not in FUNCTIONS:
            raise UnknownName(f"'{name}()' is no function{did_you_mean(name, tuple(sorted(FUNCTIONS)))}")
        arguments = node["children"][1].get("children", []) if len(node["children"]) > 1 else []
        if name in {"ofType", "as", "is"} and arguments:
            wanted = self._type(arguments[0]["text"])
            return _of_system() if name == "is" else self._narrowed(focus, wanted)
        around = focus if name in _OVER_ITEMS else self._walk.root()
        found = [self.of(argument, around) for argument in arguments]
        return self._given(name, focus, found)

    def _given(self, name: str, focus: Kinds, found: list[Kinds]) -> Kinds:
        """What a function gives, from what its arguments do."""
        if name in _SAME:
            return focus
        if name == "select":
            return found[0] if found else None
        if name in {"union", "combine", "iif"}:
            sides = found[1:] if name == "iif" else [focus, *found]
            return None if None in sides else frozenset().union(*(kinds or () for kinds in sides))
        if name == "extension":
            return frozenset({Kind(type="Extension")})
        return None if name in _UNKNOWN else _of_system()

    def _type(self, text: str) -> str:
        name = text.removeprefix("FHIR.").removeprefix("System.").strip("`")
        known = types(self._release)
        if name not in known:
            raise UnknownName(f"'{name}' is no type of FHIR{did_you_mean(name, known)}")
        return name

    def _narrowed(self, focus: Kinds, wanted: str) -> Kinds:
        """Those of the kinds that are of the type; the type itself where that cannot be known."""
        fitting = frozenset(kind for kind in focus or () if is_a(kind.type, wanted, self._release))
        return fitting or _all_of({wanted})


@cache
def _tree(text: str) -> Mapping[str, Any] | None:
    """The tree of an expression; None when it is none, which the reader tells."""
    try:
        tree: Mapping[str, Any] = parse(text)  # type: ignore[no-untyped-call]
    except Exception:  # the parser raises whatever its grammar raises
        return None
    return tree


def _name(node: Mapping[str, Any]) -> str:
    return str(node["text"]).strip("`")


def _all_of(names: Iterable[str]) -> frozenset[Kind]:
    return frozenset(Kind(type=name) for name in names)


def _of_system() -> frozenset[Kind]:
    return frozenset({Kind(type="String")})


def _kept(holder: Kind, kinds: frozenset[Kind]) -> Iterable[Kind]:
    """A CodeableReference leads where the element that holds it does."""
    if holder.type != "CodeableReference":
        return kinds
    return (Kind(type=k.type, element=holder.element) if k.type == "Reference" else k for k in kinds)


def _no_element(name: str, focus: frozenset[Kind], known: set[str]) -> str:
    holders = sorted({kind.type for kind in focus})
    return f"{' or '.join(holders)} has no element '{name}'{did_you_mean(name, tuple(sorted(known)))}"
