"""Code tables: inline in a module, or a CSV file beside it with the columns `from,to[,valid_from,valid_to]`.

A key may be a wildcard (`CT*`, `7?020`) or a range of numbers (`70010-76499`, also written `70010..76499`). An exact
key wins over a wildcard, a wildcard over a range; of several wildcards or ranges the first in the table that fits
counts. An empty `to` means "leave it out". A row with a period counts for messages of those days, both ends included;
a message that names no day of its own finds no such row.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase, translate

MAX_TABLE_BYTES = 4 << 20

_RANGE = re.compile(r"([A-Za-z]*)(\d{1,18})(?:\.\.|-)([A-Za-z]*)(\d{1,18})")
_NUMBERED = re.compile(r"([A-Za-z]*)(\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table. `valid_from` and `valid_to` None mean that the period is open on that side."""

    key: str
    to: str
    line: int = 0  # of the CSV file; 0 in a module
    valid_from: date | None = None
    valid_to: date | None = None

    @property
    def is_dated(self) -> bool:
        """Whether it counts on some days only."""
        return self.valid_from is not None or self.valid_to is not None

    def is_valid(self, day: date | None) -> bool:
        """Whether it counts on `day`; a row with a period never does where the day is unknown."""
        if not self.is_dated:
            return True
        return day is not None and (self.valid_from or day) <= day <= (self.valid_to or day)

    def shares_a_day(self, other: "Row") -> bool:
        """Whether there is a day on which both count."""
        first = max(self.valid_from or date.min, other.valid_from or date.min)
        return first <= min(self.valid_to or date.max, other.valid_to or date.max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wildcard:
    """A key with `*` or `?`."""

    row: Row
    pattern: re.Pattern[str]

    def fits(self, text: str) -> bool:
        """Whether `text` is meant by it."""
        return self.pattern.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A key that is a range of numbers behind the same letters, both ends included."""

    row: Row
    letters: str
    first: int
    last: int

    def fits(self, text: str) -> bool:
        """Whether `text` is meant by it."""
        match = _NUMBERED.fullmatch(text)
        return match is not None and match[1] == self.letters and self.first <= int(match[2]) <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A code table."""

    name: str
    exact: Mapping[str, tuple[Row, ...]]
    wildcards: tuple[Wildcard, ...] = ()
    spans: tuple[Span, ...] = ()
    is_dated: bool = False  # whether the day matters

    def find(self, text: str, day: date | None = None) -> str | None:
        """What `text` stands for on `day`: "" to leave it out, None when the table does not know it."""
        key = text.strip()
        for row in self.exact.get(key, ()):
            if row.is_valid(day):
                return row.to
        loose: tuple[Wildcard | Span, ...] = (*self.wildcards, *self.spans)
        return next((rule.row.to for rule in loose if rule.row.is_valid(day) and rule.fits(key)), None)


def make_table(name: str, rows: Mapping[str, str]) -> Table:
    """The table of `rows`, key to value, that always count."""
    return table_of_rows(name, (Row(key=key, to=to) for key, to in rows.items()))


def table_of_rows(name: str, rows: Iterable[Row]) -> Table:
    """The table of `rows`. A key that reads as a range also stands for its own text."""
    exact: dict[str, tuple[Row, ...]] = {}
    wildcards: list[Wildcard] = []
    spans: list[Span] = []
    is_dated = False
    for row in rows:
        is_dated = is_dated or row.is_dated
        if "*" in row.key or "?" in row.key:
            wildcards.append(Wildcard(row=row, pattern=re.compile(translate(row.key))))
            continue
        exact[row.key] = (*exact.get(row.key, ()), row)
        if span := span_of(row):
            spans.append(span)
    return Table(name=name, exact=exact, wildcards=tuple(wildcards), spans=tuple(spans), is_dated=is_dated)


def span_of(row: Row) -> Span | None:
    """The range that the row's key writes; None when it writes none."""
    match = _RANGE.fullmatch(row.key)
    if not match or match[3] not in {"", match[1]} or int(match[2]) > int(match[4]):
        return None
    return Span(row=row, letters=match[1], first=int(match[2]), last=int(match[4]))


def note_conflicts(table: Table, note: Callable[[Row, str], None]) -> None:
    """Tell `note` of every row that repeats, hides in or overlaps an earlier one on some day."""
    for rows in table.exact.values():
        _note_pairs(rows, lambda one, other: f"'{one.key}' stands twice in the table", note)
    _note_pairs(
        tuple(rule.row for rule in table.wildcards),
        lambda one, other: f"'{other.key}' is never reached" if _hides(one, other) else "",
        note,
    )
    open_spans: list[Span] = []
    for span in sorted(table.spans, key=lambda span: (span.letters, span.first)):
        open_spans = [one for one in open_spans if one.letters == span.letters and one.last >= span.first]
        for one in open_spans:
            earlier, later = sorted((one.row, span.row), key=lambda row: row.line)
            if earlier.key != later.key and earlier.shares_a_day(later):  # the same key is told already
                note(later, f"'{later.key}' overlaps '{earlier.key}'{_line_of(earlier)}")
        open_spans.append(span)


def _note_pairs(
    rows: tuple[Row, ...], fault: Callable[[Row, Row], str], note: Callable[[Row, str], None]
) -> None:
    for number, row in enumerate(rows):
        for earlier in rows[:number]:
            text = fault(earlier, row) if earlier.shares_a_day(row) else ""
            if text:
                note(row, f"{text}{_line_of(earlier)}")
                break


def _hides(one: Row, other: Row) -> bool:
    """Whether everything that `other` means is meant by `one` on every day of `other`."""
    is_longer = (one.valid_from or date.min) <= (other.valid_from or date.min) and (
        other.valid_to or date.max
    ) <= (one.valid_to or date.max)
    return is_longer and fnmatchcase(other.key, one.key)


def _line_of(row: Row) -> str:
    return f"; see line {row.line}" if row.line else ""
