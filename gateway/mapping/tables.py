"""Code tables: inline in a module, or a CSV file beside it with the columns `from` and `to`.

A key may be a wildcard (`CT*`, `7?020`) or a range (`70010..76499`); an exact key wins, then the first in the
table that fits. An empty `to` means "leave it out".
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import TypeAlias

from gateway.mapping.loader import Mark, Problems

MAX_TABLE_BYTES = 4 << 20

_RANGE = re.compile(r"([A-Za-z]*)(\d{1,18})\.\.([A-Za-z]*)(\d{1,18})")
_NUMBERED = re.compile(r"([A-Za-z]*)(\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wildcard:
    """A key with `*` or `?`."""

    pattern: re.Pattern[str]
    to: str

    def fits(self, text: str) -> bool:
        """Whether `text` is meant by it."""
        return self.pattern.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A key that is a range of numbers behind the same letters, both ends included."""

    letters: str
    first: int
    last: int
    to: str

    def fits(self, text: str) -> bool:
        """Whether `text` is meant by it."""
        match = _NUMBERED.fullmatch(text)
        return match is not None and match[1] == self.letters and self.first <= int(match[2]) <= self.last


Loose: TypeAlias = Wildcard | Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A code table."""

    name: str
    exact: Mapping[str, str]
    loose: tuple[Loose, ...] = ()

    def find(self, text: str) -> str | None:
        """What `text` stands for: "" to leave it out, None when the table does not know it."""
        key = text.strip()
        if key in self.exact:
            return self.exact[key]
        return next((rule.to for rule in self.loose if rule.fits(key)), None)


def make_table(name: str, rows: Mapping[str, str]) -> Table:
    """The table of `rows`, key to value."""
    exact = {}
    loose: list[Loose] = []
    for key, to in rows.items():
        span = _RANGE.fullmatch(key)
        if span and span[1] == span[3]:
            loose.append(Span(letters=span[1], first=int(span[2]), last=int(span[4]), to=to))
        elif "*" in key or "?" in key:
            loose.append(Wildcard(pattern=re.compile(translate(key)), to=to))
        else:
            exact[key] = to
    return Table(name=name, exact=exact, loose=tuple(loose))


def read_csv_table(name: str, content: bytes, file: str, problems: Problems) -> Table:
    """The table of a CSV file, comma or semicolon separated; its faults go to `problems`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add(Mark(file=file, line=1, column=1), "the table is not UTF-8; save it as 'CSV UTF-8'")
        return make_table(name, {})
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if ";" in head and "," not in head else ",")
    rows: dict[str, str] = {}
    try:
        if [column.strip() for column in next(reader, [])] != ["from", "to"]:
            problems.add(Mark(file=file, line=1, column=1), "the first line names the columns: from,to")
        for row in reader:
            if any(cell.strip() for cell in row):
                _take_row(row, rows, Mark(file=file, line=reader.line_num, column=1), problems)
    except csv.Error:
        problems.add(Mark(file=file, line=reader.line_num + 1, column=1), "the line cannot be read as CSV")
    return make_table(name, rows)


def _take_row(row: list[str], rows: dict[str, str], mark: Mark, problems: Problems) -> None:
    key = row[0].strip()
    if len(row) != 2 or not key:
        problems.add(mark, "a line has two cells, from and to, and the first is not empty")
    elif key in rows:
        problems.add(mark, f"'{key}' stands twice in the table")
    else:
        rows[key] = row[1].strip()
