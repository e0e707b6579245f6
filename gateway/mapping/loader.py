"""YAML as a tree of text with its places: what a mapping module is written in.

Every scalar stays the text that was written (no `NO` that becomes false, no `0123` that becomes 83); only an empty
plain scalar, `~` and `null` mean nothing. Duplicate keys, anchors, aliases and tags are refused: each of them makes
a file mean something else than a reader sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import TypeAlias

import yaml

from gateway.model.errors import Invalid

MAX_BYTES = 1 << 20
MAX_DEPTH = 20


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mark:
    """A place in a module's file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def short(self) -> str:
        """File and line alone, as a trace shows them."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A scalar. `text` is None for null."""

    text: str | None
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    items: "tuple[Tree, ...]"
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key of a mapping, where it stands, and its value."""

    key: str
    mark: Mark
    value: "Tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """A mapping; no key stands twice."""

    entries: tuple[Entry, ...]
    mark: Mark

    def find(self, key: str) -> "Tree | None":
        """The value of `key`; None when the key is absent."""
        return next((entry.value for entry in self.entries if entry.key == key), None)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


Tree: TypeAlias = Text | Items | Entries


class Problems:
    """The faults of a file, gathered so that all are told together."""

    def __init__(self) -> None:
        self._found: list[tuple[Mark, str]] = []

    def add(self, mark: Mark, text: str) -> None:
        """Note a fault at a place."""
        self._found.append((mark, text))

    def lines(self) -> tuple[str, ...]:
        """Every fault as "file:line:col: text", in the order of the file, each once."""
        return tuple(dict.fromkeys(f"{mark}: {text}" for mark, text in sorted(self._found)))


def did_you_mean(word: str, known: Iterator[str] | tuple[str, ...] | frozenset[str]) -> str:
    """A question that names the nearest known word; empty when none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean '{near[0]}'?" if near else ""


@lru_cache(maxsize=64)  # a change to one file reads its folder anew, a comparison reads two of them
def read_yaml(content: bytes, file: str) -> Entries:
    """The tree of a YAML file whose top is a mapping.

    Raises Invalid with every fault found, each "file:line:col: text".
    """
    start = Mark(file=file, line=1, column=1)
    if len(content) > MAX_BYTES:
        raise Invalid(f"{start}: the file is longer than {MAX_BYTES} bytes")
    problems = Problems()
    try:
        tree = _Composer(content.decode("utf-8-sig"), file, problems).document()
    except UnicodeDecodeError:
        raise Invalid(f"{start}: the file is not UTF-8") from None
    except yaml.MarkedYAMLError as fault:
        raise Invalid(*problems.lines(), _syntax(fault, file)) from None
    except yaml.YAMLError:
        raise Invalid(f"{start}: the file holds a character that YAML does not allow") from None
    if not isinstance(tree, Entries):
        problems.add(start, "a mapping module is a mapping of keys to values")
    if problems.lines() or not isinstance(tree, Entries):
        raise Invalid(*problems.lines())
    return tree


def _syntax(fault: yaml.MarkedYAMLError, file: str) -> str:
    mark = fault.problem_mark or fault.context_mark
    place = Mark(file=file, line=mark.line + 1 if mark else 1, column=mark.column + 1 if mark else 1)
    return f"{place}: {fault.problem or 'not YAML'}"


class _Composer:
    """Builds the tree from PyYAML's events."""

    def __init__(self, text: str, file: str, problems: Problems) -> None:
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._file = file
        self._problems = problems

    def document(self) -> Tree:
        tree: Tree = Text(text=None, mark=Mark(file=self._file, line=1, column=1))
        count = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
            elif isinstance(event, yaml.NodeEvent):
                node = self._node(event, 0)
                tree = node if count == 1 else tree
        if count > 1:
            self._problems.add(tree.mark, "one file holds one module; '---' begins a second one")
        return tree

    def _mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        return Mark(
            file=self._file, line=start.line + 1 if start else 1, column=start.column + 1 if start else 1
        )

    def _node(self, event: yaml.Event, depth: int) -> Tree:
        mark = self._mark(event)
        self._refuse_tricks(event, mark)
        if depth > MAX_DEPTH:
            raise Invalid(*self._problems.lines(), f"{mark}: nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(mark, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return Items(items=tuple(items), mark=mark)
        if isinstance(event, yaml.ScalarEvent):
            is_null = event.style is None and event.value in {"", "~", "null"}
            return Text(text=None if is_null else event.value, mark=mark)
        return Text(text=None, mark=mark)

    def _mapping(self, mark: Mark, depth: int) -> Entries:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Text) or key.text is None:
                self._problems.add(key.mark, "a key is a text")
            elif key.text in entries:
                first = entries[key.text].mark
                self._problems.add(key.mark, f"the key '{key.text}' stands already in line {first.line}")
            else:
                entries[key.text] = Entry(key=key.text, mark=key.mark, value=value)
        return Entries(entries=tuple(entries.values()), mark=mark)

    def _refuse_tricks(self, event: yaml.Event, mark: Mark) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._problems.add(mark, "an alias (*name) is not allowed; write the value again")
            return
        if getattr(event, "anchor", None):
            self._problems.add(mark, "an anchor (&name) is not allowed")
        if getattr(event, "tag", None) not in {None, "!"}:
            self._problems.add(mark, "a tag (!name) is not allowed")
