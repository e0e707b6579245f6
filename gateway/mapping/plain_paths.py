"""The FHIRPath that most modules write, read directly: names, `where`, `exists`, `empty`, `=`, `!=`, `and`, `or`.

The library takes thirty times as long for the same answer. Whatever is not plain goes to it: an expression with
anything else in it, and a resource with anything odd in it (primitive extensions, numbers with a point, lists in
lists). So what is found never depends on who looked; tests/mapping/test_plain_paths.py holds the two side by side.
Source: FHIRPath N1 (2.0.0) 3, 5.1, 5.2, 6.1, 6.5.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

Read: TypeAlias = Callable[[list[Any], Mapping[str, Any]], list[Any]]
"""What is found from a collection, by the variables. Raises Odd."""

ConditionRead: TypeAlias = Callable[[Any, Mapping[str, Any]], bool | None]
"""Whether a condition holds for an item; None where FHIRPath says "empty". Raises Odd."""


class Odd(Exception):
    """Something that the library has to look at."""


_TOKEN = re.compile(r"\s*(?:(%?[a-z][A-Za-z0-9_]*)|'([^'\\]*)'|(!=|[.()=]))")
_WORDS = frozenset(
    {"and", "or", "xor", "implies", "div", "mod", "in", "is", "as", "contains", "true", "false"}
)
_END = ("end", "")


class Elements:
    """The elements of a FHIR release by their names, from a model of fhirpathpy."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        self._choices: defaultdict[str, set[str]] = defaultdict(set)
        self._types: defaultdict[str, set[str]] = defaultdict(set)
        for path in model["choiceTypePaths"]:
            holder, _, name = path.rpartition(".")
            self._choices[name].add(holder)
            self._note(holder, holder)
        for table in ("path2Type", "pathsDefinedElsewhere"):
            for path, kind in model[table].items():
                self._note(path, kind)

    def _note(self, path: str, kind: str) -> None:
        within, _, name = path.rpartition(".")
        if within:  # else it is a type of resource, which is part of none
            self._types[name].add(kind)

    def choices(self, name: str) -> frozenset[str]:
        """The types and elements where it stands for elements such as `valueString`: the library knows for which."""
        return frozenset(self._choices.get(name, ()))

    def types(self, holder: str) -> frozenset[str]:
        """What an element of that name may be, in any type: the name of its type, or its own path."""
        return frozenset(self._types.get(holder, ()))


def compile_plain(text: str, elements: Elements) -> Read | None:
    """The reader of a plain path; None when the library must read it."""
    try:
        parser = _Parser(tuple(_tokens(text)), elements)
        read = parser.path()
        parser.take("end")
    except Odd:
        return None
    return read


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Odd
        at = match.end()
        name, literal, mark = match.groups()
        if name is not None:
            yield ("variable" if name.startswith("%") else "name"), name.removeprefix("%")
        elif literal is not None:
            yield "literal", literal
        else:
            yield mark, mark
    yield _END


class _Parser:
    """Recursive descent over the tokens. Raises Odd at whatever is not plain."""

    def __init__(self, tokens: tuple[tuple[str, str], ...], elements: Elements) -> None:
        self._tokens = tokens
        self._elements = elements
        self._at = 0

    def take(self, kind: str) -> str:
        """The text of the next token, which must be of that kind."""
        found, text = self._tokens[self._at]
        if found != kind:
            raise Odd
        self._at += 1
        return text

    def _next_is(self, kind: str, text: str = "") -> bool:
        found, said = self._tokens[self._at]
        return found == kind and (not text or said == text)

    def path(self, holder: str = "") -> Read:
        """A variable or a name, and what follows it; `holder` is the element whose parts the first name means."""
        if self._next_is("variable"):
            reads: list[Read] = [_variable(self.take("variable"))]
            holder = ""
        else:
            holder, read = self._name(holder)
            reads = [read]
        while self._next_is("."):
            self.take(".")
            if not self._followed_by_bracket():
                holder, read = self._name(holder)
                reads.append(read)
                continue
            function = self.take("name")
            self.take("(")
            reads.append(_where(self._condition(holder)) if function == "where" else _asked(function))
            self.take(")")
            if function != "where":
                break
        return _chain(tuple(reads))

    def _followed_by_bracket(self) -> bool:
        return self._tokens[self._at + 1][0] == "("

    def _name(self, holder: str) -> tuple[str, Read]:
        name = self.take("name")
        choices = self._elements.choices(name)
        if name in _WORDS or name == "length" or self._next_is("("):
            raise Odd
        if choices & self._elements.types(holder):
            raise Odd
        return name, _step(name, frozenset() if holder else choices)

    def _condition(self, holder: str) -> ConditionRead:
        read = self._both(holder)
        while self._next_is("name", "or"):
            self.take("name")
            read = _either(read, self._both(holder))
        return read

    def _both(self, holder: str) -> ConditionRead:
        read = self._comparison(holder)
        while self._next_is("name", "and"):
            self.take("name")
            read = _both(read, self._comparison(holder))
        return read

    def _comparison(self, holder: str) -> ConditionRead:
        if self._next_is("("):
            self.take("(")
            inner = self._condition(holder)
            self.take(")")
            return inner
        left = self._operand(holder)
        for mark in ("=", "!="):
            if self._next_is(mark):
                self.take(mark)
                return _equal(left, self._operand(holder), mark == "=")
        return _truth(left)

    def _operand(self, holder: str) -> Read:
        if self._next_is("literal"):
            text = self.take("literal")
            return lambda _items, _variables: [text]
        return self.path(holder)


def _variable(name: str) -> Read:
    def read(_items: list[Any], variables: Mapping[str, Any]) -> list[Any]:
        if name not in variables:
            raise Odd
        value = variables[name]
        if isinstance(value, list):
            raise Odd
        return [] if value is None else [value]

    return read


def _step(name: str, choices: frozenset[str]) -> Read:
    """The parts of that name; `choices` are the types of resource that have it in several forms."""
    shadow = f"_{name}"  # where JSON keeps the extensions of a primitive

    def read(items: list[Any], _variables: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = []
        for item in items:
            if not isinstance(item, Mapping):
                continue
            if shadow in item or (choices and item.get("resourceType") in choices):
                raise Odd
            value = item.get(name)
            if isinstance(value, list):
                if any(part is None or isinstance(part, list) for part in value):
                    raise Odd
                found += value
            elif value is not None:
                found.append(value)
        return found

    return read


def _chain(reads: tuple[Read, ...]) -> Read:
    def read(items: list[Any], variables: Mapping[str, Any]) -> list[Any]:
        for one in reads:
            items = one(items, variables)
        return items

    return read


def _where(condition: ConditionRead) -> Read:
    return lambda items, variables: [item for item in items if condition(item, variables)]


def _asked(function: str) -> Read:
    """`exists()` and `empty()`, which end a path."""
    if function == "exists":
        return lambda items, _variables: [bool(items)]
    if function == "empty":
        return lambda items, _variables: [not items]
    raise Odd


def _equal(left: Read, right: Read, wanted: bool) -> ConditionRead:
    def holds(item: Any, variables: Mapping[str, Any]) -> bool | None:
        one, other = left([item], variables), right([item], variables)
        if not one or not other:
            return None
        if not all(len(side) == 1 and isinstance(side[0], str) for side in (one, other)):
            raise Odd
        return (one[0] == other[0]) is wanted

    return holds


def _truth(read: Read) -> ConditionRead:
    def holds(item: Any, variables: Mapping[str, Any]) -> bool | None:
        found = read([item], variables)
        if not found:
            return None
        if len(found) != 1 or not isinstance(found[0], bool):
            raise Odd
        return found[0]

    return holds


def _both(left: ConditionRead, right: ConditionRead) -> ConditionRead:
    def holds(item: Any, variables: Mapping[str, Any]) -> bool | None:
        one, other = left(item, variables), right(item, variables)
        if one is False or other is False:
            return False
        return None if one is None or other is None else True

    return holds


def _either(left: ConditionRead, right: ConditionRead) -> ConditionRead:
    def holds(item: Any, variables: Mapping[str, Any]) -> bool | None:
        one, other = left(item, variables), right(item, variables)
        if one or other:
            return True
        return None if one is None or other is None else False

    return holds


def is_plain(found: Any) -> bool:
    """Whether the library would give what was found as it stands: nothing in it that it converts or leaves out."""
    if isinstance(found, str | bool | int):
        return True
    if isinstance(found, Mapping):
        return all(value is None or is_plain(value) for value in found.values())
    if isinstance(found, list):
        return all(is_plain(part) and not _is_only_extended(part) for part in found)
    return False


def _is_only_extended(part: Any) -> bool:
    return isinstance(part, Mapping) and list(part) == ["extension"]
