"""What a transform is, and how one is written from a plain function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from zoneinfo import ZoneInfo

from gateway.mapping.scope import Data, Datum, Path, Run, text_of
from gateway.mapping.tables import Table

Arguments: TypeAlias = Mapping[str, str]
"""Every parameter of the transform, defaults filled in; numbers are checked to be whole and not negative."""

Apply: TypeAlias = Callable[[Data, Run], Data]
"""What a step does to the values. Raises Unfit when a value cannot be used; nothing means "absent"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An argument of a transform. `default` None means that it must be given."""

    name: str
    default: str | None = None
    is_number: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a transform may know of its module when it is built."""

    zone: ZoneInfo
    site: Mapping[str, str]
    tables: Mapping[str, Table]
    compile_path: Callable[[str], Path]  # raises ValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """A transform by name. `make` raises ValueError when the arguments make no sense."""

    name: str
    about: str
    make: Callable[[Arguments, Setting], Apply]
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A transform with its arguments, ready to run; `label` is what a trace shows."""

    label: str
    apply: Apply


def each_text(function: Callable[[str], str]) -> Apply:
    """Applies `function` to the text of every value; a blank result is dropped."""

    def apply(data: Data, run: Run) -> Data:
        made = [function(text_of(datum)) for datum in data]
        return tuple([text for text in made if text.strip()])

    return apply


def each(function: Callable[[Datum], Datum | None]) -> Apply:
    """Applies `function` to every value; None and empty results are dropped."""

    def apply(data: Data, run: Run) -> Data:
        made = (function(datum) for datum in data)
        return tuple(datum for datum in made if datum)

    return apply


def whole(function: Callable[[Data], Data]) -> Apply:
    """Applies `function` to all values at once."""

    def apply(data: Data, run: Run) -> Data:
        return function(data)

    return apply
