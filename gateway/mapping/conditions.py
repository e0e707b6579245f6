"""Conditions: `when: {OBR-24: [LAB, SP]}`, `{empty: path}`, `{not: {...}}`, `{any: [{...}, {...}]}`.

All entries of a mapping must hold. A path holds when any value found there equals one of those listed. There is no
expression language on purpose.
"""

from dataclasses import dataclass
from typing import TypeAlias

from gateway.mapping.scope import Path, Piece, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Equals:
    """Some value at `path` is one of `values`."""

    path: Path
    values: frozenset[str]

    def holds(self, scope: Scope) -> bool:
        """Whether it is so."""
        return not self.values.isdisjoint(texts_at(self.path, scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """Nothing but blanks stands at any of `paths`."""

    paths: tuple[Path, ...]

    def holds(self, scope: Scope) -> bool:
        """Whether it is so."""
        return not any(found.raw.strip() for path in self.paths for found in path.read(scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """The condition within does not hold."""

    condition: "Condition"

    def holds(self, scope: Scope) -> bool:
        """Whether it is so."""
        return not self.condition.holds(scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """At least one of the conditions within holds."""

    conditions: "tuple[Condition, ...]"

    def holds(self, scope: Scope) -> bool:
        """Whether it is so."""
        return any(condition.holds(scope) for condition in self.conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """Every condition within holds."""

    conditions: "tuple[Condition, ...]"

    def holds(self, scope: Scope) -> bool:
        """Whether it is so."""
        return all(condition.holds(scope) for condition in self.conditions)


Condition: TypeAlias = Equals | Empty | Not | AnyOf | AllOf


def texts_at(path: Path, scope: Scope) -> list[str]:
    """The texts that `path` finds, without blanks around them; elements with parts are passed over."""
    data = [found.datum for found in path.read(scope)]
    return [
        datum.text.strip() if isinstance(datum, Piece) else datum.strip()
        for datum in data
        if isinstance(datum, (Piece, str))
    ]


def is_disjoint(one: Condition, other: Condition) -> bool:
    """Whether two conditions provably never hold together: they want different values at one path."""
    ours, theirs = _equalities(one), _equalities(other)
    return any(ours[path].isdisjoint(theirs[path]) for path in ours.keys() & theirs.keys())


def _equalities(condition: Condition) -> dict[str, frozenset[str]]:
    parts = condition.conditions if isinstance(condition, AllOf) else (condition,)
    return {part.path.text: part.values for part in parts if isinstance(part, Equals)}


def specificity(condition: Condition) -> int:
    """How much a condition asks for: the number of its entries."""
    return len(condition.conditions) if isinstance(condition, AllOf) else 1
