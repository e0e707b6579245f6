"""What a module says that can never come about: alternatives behind one that always gives a value, unused rows."""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from gateway.mapping.lint_walk import Field, entries_at, fields_of, text_at, trees_of, uses_of
from gateway.mapping.loader import Entries, Items, Mark, Problems, Text, Tree


def note_unreachable(module: Entries, faults: Problems, warnings: Problems) -> None:
    """Note what is never reached. A parent's part that a child makes needless is no fault of the child."""
    for field in fields_of(module):
        _note_alternatives(field.entries.find("from"), field.entries, faults)
        _note_fallbacks(field, faults)
        for holder in (field.entries, *_mappings(field.entries.find("from"))):
            _note_rows(entries_at(holder, "table"), faults)
            _note_policy(entries_at(holder, "table"), holder.find("unmapped"), faults)
    action = entries_at(module, "action")
    if action:
        _note_alternatives(action.find("from"), action, faults)
        _note_pairs(action, faults)
    for table in entries_at(module, "tables") or ():
        if isinstance(table.value, Entries):
            _note_rows(table.value, faults)
    _note_conditions(module, faults)
    _note_unused_tables(module, warnings)


def _mappings(tree: Tree | None) -> Iterator[Entries]:
    return (one for one in trees_of(tree) if isinstance(one, Entries))


def _note_alternatives(tree: Tree | None, holder: Entries, faults: Problems) -> None:
    """Alternatives behind one that always gives a value, and those that are there already."""
    sure: Mark | None = None
    plain: set[str] = set()
    seen: list[str] = []
    changes = holder.find("do") is not None or holder.find("table") is not None
    for alternative in trees_of(tree):
        written = _written(alternative)
        path = _plain_path(alternative)
        origin = _origin(alternative)
        if sure:
            faults.add(
                alternative.mark, f"never reached: the alternative in line {sure.line} always gives a value"
            )
        elif written in seen or (origin in plain and not changes):
            faults.add(alternative.mark, f"never reached: '{origin}' stands before it already")
        if _is_sure(alternative) and not changes:
            sure = sure or alternative.mark
        seen.append(written)
        plain |= {path} if path else set()


def _written(tree: Tree) -> str:
    """The tree as a text that is the same for the same content."""
    if isinstance(tree, Text):
        return repr(tree.text)
    if isinstance(tree, Items):
        return f"[{', '.join(_written(item) for item in tree.items)}]"
    if len(tree.entries) == 1 and tree.entries[0].key == "from":
        return _written(tree.entries[0].value)
    return f"{{{', '.join(sorted(f'{entry.key}: {_written(entry.value)}' for entry in tree))}}}"


def _plain_path(tree: Tree) -> str:
    """The path of an alternative that takes whatever stands there; empty for others."""
    if isinstance(tree, Entries):
        return _origin(tree) if {entry.key for entry in tree} == {"from"} else ""
    return _origin(tree)


def _origin(tree: Tree) -> str:
    if isinstance(tree, Entries):
        text = text_at(tree, "from")
        return (text.text or "") if text else ""
    return tree.text or "" if isinstance(tree, Text) else ""


def _is_sure(tree: Tree) -> bool:
    """Whether the alternative is a value without any condition."""
    if not isinstance(tree, Entries) or text_at(tree, "value") is None:
        return False
    return not {"when", "do", "table"} & {entry.key for entry in tree}


def _note_fallbacks(field: Field, faults: Problems) -> None:
    """`default`, `else` and `required` where a value is certain, as far as they stand in one file with it."""
    entries = field.entries
    changes = entries.find("do") is not None or entries.find("table") is not None
    sure = next((one for one in trees_of(entries.find("from")) if _is_sure(one) and not changes), None)
    if sure is not None:
        _note_needless(
            entries, ("else", "default", "required"), sure.mark, "an alternative always gives a value", faults
        )
    default = text_at(entries, "default")
    if default:
        _note_needless(entries, ("required",), default.mark, "the field has a default", faults)
    constant = next((use for use in uses_of(entries.find("else")) if use.name == "constant"), None)
    if constant:
        _note_needless(entries, ("default", "required"), constant.mark, "else always gives a value", faults)


def _note_needless(entries: Entries, keys: Iterable[str], cause: Mark, why: str, faults: Problems) -> None:
    for entry in entries:
        if entry.key in keys and entry.mark.file == cause.file:
            faults.add(entry.mark, f"'{entry.key}' never comes about: {why}")


def _note_rows(table: Entries | None, faults: Problems) -> None:
    """Rows behind a wildcard that takes all of theirs, and keys that no text can equal."""
    before: list[str] = []
    for row in table or ():
        if row.key != row.key.strip():
            faults.add(
                row.mark, f"the row '{row.key}' is never used: texts are looked up without blanks around them"
            )
        if "*" in row.key or "?" in row.key:
            hiding = next((key for key in before if fnmatchcase(row.key, key)), "")
            if hiding:
                faults.add(row.mark, f"the row '{row.key}' is never used: '{hiding}' stands before it")
            before.append(row.key)


def _note_policy(table: Entries | None, unmapped: Tree | None, faults: Problems) -> None:
    star = next((row for row in table or () if row.key == "*"), None)
    if star and unmapped is not None and unmapped.mark.file == star.mark.file:
        faults.add(unmapped.mark, "'unmapped' never comes about: the row '*' takes everything")


def _note_pairs(action: Entries, faults: Problems) -> None:
    """A `pair` without rows for it."""
    pair, rows = action.find("pair"), entries_at(action, "table")
    if pair is not None and not any("_" in row.key for row in rows or ()):
        faults.add(pair.mark, "'pair' is never used: no row of the table is written A_B")


def _note_conditions(module: Entries, faults: Problems) -> None:
    """Conditions that compare with nothing."""
    rules = [rule for key in ("skip", "hold") for rule in _mappings(module.find(key))]
    holders = [module, *rules, *(field.entries for field in fields_of(module))]
    for field in fields_of(module):
        holders += _mappings(field.entries.find("from"))
    for holder in holders:
        for key in ("match", "when", "only"):
            _note_condition(holder.find(key), faults)


def _note_condition(tree: Tree | None, faults: Problems) -> None:
    for entry in tree if isinstance(tree, Entries) else ():
        if entry.key in {"not", "any"}:
            for part in trees_of(entry.value):
                _note_condition(part, faults)
        elif entry.key != "empty" and not any(_has_text(value) for value in trees_of(entry.value)):
            faults.add(
                entry.mark, f"'{entry.key}' is compared with nothing and never holds; 'empty: {entry.key}'?"
            )


def _has_text(tree: Tree) -> bool:
    return not isinstance(tree, Text) or bool(tree.text)


def _note_unused_tables(module: Entries, warnings: Problems) -> None:
    """The module's own tables that no field looks into."""
    used = _names_of_tables(module)
    for table in entries_at(module, "tables") or ():
        if table.key not in used and table.mark.file == module.mark.file:
            warnings.add(table.mark, f"the table '{table.key}' is never used")


def _names_of_tables(module: Entries) -> frozenset[str]:
    found: set[str] = set()
    for field in fields_of(module):
        for holder in (field.entries, *_mappings(field.entries.find("from"))):
            name = text_at(holder, "table")
            found |= {name.text or ""} if name else set()
            steps: Mapping[str, str] = {use.name: use.argument for use in uses_of(holder.find("do"))}
            found |= {steps.get("table", "")}
    return frozenset(found)
