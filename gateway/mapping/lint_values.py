"""What a field's steps, constants and tables give, held against what its DICOM attribute can hold."""

from collections.abc import Iterable, Iterator, Mapping

from gateway.mapping.dictionary import LENGTHS, START, fault_in
from gateway.mapping.lint_walk import Field, Use, entries_at, text_at, trees_of, uses_of
from gateway.mapping.loader import Entries, Mark, Problems, Text
from gateway.mapping.tables import Table

TEXT_VRS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})

GIVES: Mapping[str, str] = {
    "date": "a date",
    "datetime": "a date with its time",
    "now": "a date with its time",
    "time": "a time of day",
    "age_from": "an age",
    "name_xpn": "a person name",
    "name_xcn": "a person name",
    "name_cnn": "a person name",
    "name_fhir": "a person name",
    "name_text": "a person name",
    "code": "items",
    "code_alt": "items",
    "coding": "items",
    "uid": "a UID",
    "uid_from": "a UID",
}
"""What the transforms with a result of their own kind give."""

KEEPS = frozenset({"first", "last", "nth", "longest", "unique", "null_to_empty", "filter", "add_minutes"})
"""The transforms that choose among values and leave their kind as it is."""

PLAIN = frozenset(
    {
        "strip", "upper", "lower", "title", "digits", "truncate", "pad", "replace", "regex", "split",
        "join", "prefix", "suffix", "drop_prefix", "drop_suffix", "newline_to", "template",
        "ascii_fold", "strip_leading_zeros", "constant", "lookup_site", "table", "initials",
        "modality_from_code", "ei", "cx", "oid_from_urn", "hash", "phone", "address", "number", "bool",
        "sex", "unescape_text",
    }
)  # fmt: skip
"""The transforms that give a text. A site's own transform may give anything, so it is in none of the three."""

FITS: Mapping[str, frozenset[str]] = {
    "a date": frozenset({"DA", "DT"}),
    "a date with its time": frozenset(),
    "a time of day": frozenset({"TM"}),
    "an age": frozenset({"AS"}),
    "a person name": TEXT_VRS | {"PN"},
    "items": frozenset({"SQ"}),
    "a UID": TEXT_VRS - {"SH"} | {"UI"},
}
"""The value representations that hold each kind; START alone takes a date with its time."""


def note_misfits(
    fields: Iterable[Field], tables: Mapping[str, Table], faults: Problems, warnings: Problems
) -> None:
    """Note every value that its attribute cannot hold, and every length that is beyond it."""
    for field in fields:
        for uses in _chains(field):
            _note_kind(field, uses, faults)
            _note_constant(field, uses, faults)
        _note_plain_paths(field, faults)
        for mark, text, what in (*_fixed_values(field), *_table_values(field, tables)):
            fault = fault_in(field.target, text, _limit(field)) if text else ""
            if fault:
                faults.add(mark, f"{field.target.keyword}: {what} {fault}")
        _note_lengths(field, warnings)


def _chains(field: Field) -> Iterator[list[Use]]:
    """The steps that a value goes through to its end, for each way there is; none where a table comes last."""
    entries = field.entries
    after, has_table = list(uses_of(entries.find("do"))), entries.find("table") is not None
    yield list(uses_of(entries.find("else")))
    if has_table:
        return
    if after:
        yield after
        return
    for alternative in trees_of(entries.find("from")):
        if isinstance(alternative, Entries) and alternative.find("table") is None:
            yield list(uses_of(alternative.find("do")))


def _note_kind(field: Field, uses: list[Use], faults: Problems) -> None:
    """The kind of the last step that makes one."""
    last = next((use for use in reversed(uses) if use.name not in KEEPS), None)
    if last is None or last.name not in GIVES.keys() | PLAIN:
        return
    keyword, vr = field.target.keyword, field.target.vr
    given = GIVES.get(last.name, "a text")
    if keyword == START:
        is_fit = given not in FITS or given == "a date with its time"
    elif given in FITS:
        is_fit = vr in FITS[given]
    else:
        is_fit = vr != "SQ"
    if not is_fit:
        faults.add(last.mark, f"{keyword} ({vr}) cannot hold what '{last.name}' gives: {given}")


def _note_constant(field: Field, uses: list[Use], faults: Problems) -> None:
    last = next((use for use in reversed(uses) if use.name not in KEEPS), None)
    if last and last.name == "constant" and last.argument and field.target.vr != "SQ":
        fault = fault_in(field.target, last.argument, _limit(field))
        if fault:
            faults.add(last.mark, f"{field.target.keyword}: the constant {fault}")


def _note_plain_paths(field: Field, faults: Problems) -> None:
    """A sequence is never made of a path alone."""
    entries = field.entries
    if not field.target.is_sequence or entries.find("do") is not None or entries.find("table") is not None:
        return
    for alternative in trees_of(entries.find("from")):
        if isinstance(alternative, Text) and alternative.text:
            keyword = field.target.keyword
            faults.add(
                alternative.mark, f"{keyword} is a sequence; a transform such as 'code' makes its items"
            )


def _fixed_values(field: Field) -> Iterator[tuple[Mark, str, str]]:
    """The `value` of alternatives and the constants of `unmapped`, where nothing changes them any more."""
    entries = field.entries
    if entries.find("do") is None and entries.find("table") is None:
        for alternative in _alternatives(field):
            value = text_at(alternative, "value")
            if value and alternative.find("do") is None and alternative.find("table") is None:
                yield value.mark, value.text or "", "the value"
    for holder in _lookups(field):
        unmapped = text_at(holder, "unmapped")
        if unmapped and unmapped.text not in {"hold", "reject", "warn", "pass", "next"}:
            yield unmapped.mark, unmapped.text or "", "what unmapped gives"


def _table_values(field: Field, tables: Mapping[str, Table]) -> Iterator[tuple[Mark, str, str]]:
    """What the tables give, where nothing changes it any more."""
    for holder in _lookups(field):
        rows, name = entries_at(holder, "table"), text_at(holder, "table")
        for row in rows or ():
            if isinstance(row.value, Text) and row.value.text:
                yield row.value.mark, row.value.text, f"the table's row '{row.key}'"
        table = tables.get(name.text or "") if name else None
        if table and name:
            for key, to in _rows(table):
                yield name.mark, to, f"the row '{key}' of table {table.name}"


def _rows(table: Table) -> Iterator[tuple[str, str]]:
    for rows in table.exact.values():
        yield from ((row.key, row.to) for row in rows)
    yield from ((rule.row.key, rule.row.to) for rule in table.wildcards)


def _lookups(field: Field) -> Iterator[Entries]:
    """The mappings whose `table` has the last word."""
    if field.entries.find("table") is not None:
        yield field.entries
    elif field.entries.find("do") is None:
        yield from (one for one in _alternatives(field) if one.find("table") is not None)


def _alternatives(field: Field) -> Iterator[Entries]:
    return (tree for tree in trees_of(field.entries.find("from")) if isinstance(tree, Entries))


def _limit(field: Field) -> int | None:
    said = text_at(field.entries, "max")
    text = said.text or "" if said else ""
    return int(text) if text.isascii() and text.isdecimal() else None


def _note_lengths(field: Field, warnings: Problems) -> None:
    """`max` and a last `truncate` that leave more than the attribute holds."""
    longest = 64 if field.target.vr == "PN" else LENGTHS.get(field.target.vr)
    if longest is None or field.target.keyword == START:
        return
    holds = f"{field.target.keyword} ({field.target.vr}) holds {longest} characters"
    limit, said = _limit(field), field.entries.find("max")
    if limit and said is not None and limit > longest:
        warnings.add(said.mark, f"{holds}; max {limit} changes nothing")
    for uses in _chains(field):
        last = uses[-1] if uses else None
        number = last.argument if last and last.name == "truncate" else ""
        if last and number.isdecimal() and int(number) > longest:
            warnings.add(last.mark, f"{holds}; truncate {number} leaves more")
