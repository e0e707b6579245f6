"""FHIR orders to map, and FHIRPath compiled once.

References are followed before a module looks: `resources: {patient: {reference: subject}}` makes `%patient`.
`%name` also stands for a site value. fhirpathpy takes `a..b` and an unclosed bracket as if right; here they are faults.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeAlias

import fhirpathpy
from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
from fhirpathpy.models import models
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

from gateway.mapping.plain_paths import Elements, Odd, compile_plain, is_plain
from gateway.mapping.scope import Datum, Focus, Found, Scope, raw_of
from gateway.model.order import Place

Resource: TypeAlias = Mapping[str, Any]
"""A FHIR resource as JSON gives it."""

ORDERS = ("ServiceRequest", "Task", "Appointment")
"""The types of resource that a module maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Orders and the way to what they refer to.

    `resolve` takes the resource that holds a reference and the Reference element; None when it leads nowhere.
    """

    orders: tuple[Resource, ...]  # the resources to map, of the types ORDERS, in order
    resolve: Callable[[Resource, Mapping[str, Any]], Resource | None]


class BadExpression(ValueError):
    """The text is no FHIRPath expression; the message says why."""


_STANDARD = frozenset({"context", "ucum"})  # what fhirpathpy itself defines
_LITERAL = re.compile(r"'(?:\\.|[^'\\])*'")
_VARIABLE = re.compile(r"%(?:`([^`]+)`|([A-Za-z_]\w*))")


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirPath:
    """A compiled FHIRPath expression."""

    text: str
    evaluate: Callable[[Resource, dict[str, Any]], list[Any]]

    def read(self, scope: Scope) -> tuple[Found, ...]:
        """What the expression gives; nothing where it fails on this resource. Never raises."""
        if not isinstance(scope, Focus):
            return ()
        try:
            values = self.evaluate(scope.order, dict(scope.variables))
        except Exception:  # fhirpathpy raises bare Exception, KeyError, TypeError on odd resources
            return ()
        place = self.place(scope)
        data = (_datum(value) for value in values)
        return tuple(Found(datum=datum, raw=raw_of(datum), place=place) for datum in data if datum)

    def place(self, scope: Scope) -> Place:
        """The expression as a place; FHIR has no lines."""
        return Place(path=self.text)


@lru_cache(maxsize=4096)  # modules share most of their expressions, and all are read again when one changes
def compile_fhirpath(text: str, known: frozenset[str], release: str = "R4") -> FhirPath:
    """The expression that `text` writes; `known` are the names it may use with a percent sign.

    Raises BadExpression.
    """
    _refuse_nonsense(text)
    bare = _LITERAL.sub("''", text)
    for quoted, plain in _VARIABLE.findall(bare):
        if (quoted or plain) not in known | _STANDARD:
            raise BadExpression(
                f"'{text}': %{quoted or plain} is neither a resource nor a site value of this module"
            )
    model = "r5" if release == "R5" else "r4"
    try:
        by_library = fhirpathpy.compile(text, model=models[model])
    except Exception:  # the parser raises whatever its grammar raises
        raise BadExpression(f"'{text}' is no FHIRPath expression") from None
    plain = compile_plain(text, _elements(model))
    if plain is None:
        return FhirPath(text=text, evaluate=by_library)

    def evaluate(resource: Resource, variables: dict[str, Any]) -> list[Any]:
        try:
            found = plain([resource], variables)
        except Odd:
            return by_library(resource, variables)
        return found if is_plain(found) else by_library(resource, variables)

    return FhirPath(text=text, evaluate=evaluate)


@cache
def _elements(model: str) -> Elements:
    return Elements(models[model])


class _FirstError(ErrorListener):  # type: ignore[misc]
    """Remembers where the grammar first failed; `column` counts from 0, None while all is well."""

    def __init__(self) -> None:
        self.column: int | None = None

    def syntaxError(  # noqa: N802 - ANTLR's name
        self, recognizer: object, symbol: object, line: int, column: int, message: str, error: object
    ) -> None:
        self.column = column if self.column is None else self.column


def _refuse_nonsense(text: str) -> None:
    """The grammar without the forgiveness: the library repairs what it cannot read and goes on."""
    first = _FirstError()
    lexer = FHIRPathLexer(InputStream(text))
    parser = FHIRPathParser(CommonTokenStream(lexer))
    for machine in (lexer, parser):
        machine.removeErrorListeners()
        machine.addErrorListener(first)
    parser.entireExpression()  # type: ignore[no-untyped-call]
    if first.column is not None:
        raise BadExpression(f"'{text}' is no FHIRPath expression from character {first.column + 1} on")


def _datum(value: object) -> Datum:
    """A value as the transforms take it: text, or an element with parts. Empty text for what is neither."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or isinstance(value, list) else str(value)
