"""CSV tables read: every row checked, every fault noted with file and line."""

import csv
import io
import re
from datetime import date

from gateway.mapping.loader import Mark, Problems
from gateway.mapping.tables import Row, Table, make_table, note_conflicts, table_of_rows

COLUMNS = ("from", "to", "valid_from", "valid_to")

_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")


def read_csv_table(name: str, content: bytes, file: str, problems: Problems) -> Table:
    """The table of a CSV file, comma or semicolon separated; its faults go to `problems`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add(Mark(file=file, line=1, column=1), "the table is not UTF-8; save it as 'CSV UTF-8'")
        return make_table(name, {})
    table = table_of_rows(name, _read_rows(text, file, problems))
    note_conflicts(table, lambda row, fault: problems.add(Mark(file=file, line=row.line, column=1), fault))
    return table


def _read_rows(text: str, file: str, problems: Problems) -> list[Row]:
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if ";" in head and "," not in head else ",")
    rows: list[Row] = []
    try:
        columns = tuple(column.strip() for column in next(reader, []))
        if columns not in {COLUMNS[:2], COLUMNS}:
            problems.add(Mark(file=file, line=1, column=1), "the first line names the columns: from,to")
        for cells in reader:
            row = _read_row([cell.strip() for cell in cells], file, reader.line_num, problems)
            rows += [row] if row else []
    except csv.Error:
        problems.add(Mark(file=file, line=reader.line_num + 1, column=1), "the line cannot be read as CSV")
    return rows


def _read_row(cells: list[str], file: str, line: int, problems: Problems) -> Row | None:
    if not any(cells):
        return None
    mark = Mark(file=file, line=line, column=1)
    if len(cells) not in {2, 3, 4} or not cells[0]:
        problems.add(mark, "a line has two cells, from and to, and the first is not empty")
        return None
    first, last = (_read_day(cell, mark, problems) for cell in (*cells[2:], "", "")[:2])
    if first and last and first > last:
        problems.add(mark, "valid_from is later than valid_to")
    return Row(key=cells[0], to=cells[1], line=line, valid_from=first, valid_to=last)


def _read_day(text: str, mark: Mark, problems: Problems) -> date | None:
    match = _DAY.fullmatch(text) if text.isascii() else None
    try:
        if match:
            return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        match = None
    if text:
        problems.add(mark, "a period is written as days, such as 2026-03-31")
    return None
