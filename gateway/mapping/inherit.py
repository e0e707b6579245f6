"""`extends`: a child module laid over its parent, as trees, so that every line keeps its own file and place.

Mappings merge by key, lists and everything in REPLACED take the place of the parent's, null removes. A field written
short (`Modality: OBR-24`) counts as one with `from` alone.
"""

from gateway.mapping.loader import Entries, Entry, Items, Text, Tree

OWN = frozenset({"mapping", "extends", "examples"})
"""Keys of a module that are never inherited."""

REPLACED = frozenset({"from", "do", "when", "else", "only"})
"""Keys whose mappings are one thing and do not merge."""


def merge_modules(parent: Entries | None, child: Entries) -> Entries:
    """`child` over `parent`; without a parent the child alone, its nulls taken out."""
    base = Entries(entries=(), mark=child.mark)
    if parent:
        base = Entries(entries=tuple(entry for entry in parent if entry.key not in OWN), mark=parent.mark)
    merged = _merge(
        base, Entries(entries=tuple(_long_form(e) for e in child if e.key not in OWN), mark=child.mark)
    )
    own = tuple(entry for entry in child if entry.key in OWN)
    return Entries(entries=(*own, *merged.entries), mark=child.mark)


def _merge(parent: Entries, child: Entries) -> Entries:
    merged = {entry.key: entry for entry in parent}
    for entry in child:
        if isinstance(entry.value, Text) and entry.value.text is None:
            merged.pop(entry.key, None)
        elif isinstance(entry.value, Entries) and entry.key not in REPLACED:
            before = merged.get(entry.key)
            below = before.value if before and isinstance(before.value, Entries) else None
            value = _merge(below or Entries(entries=(), mark=entry.value.mark), entry.value)
            merged[entry.key] = Entry(key=entry.key, mark=entry.mark, value=value)
        else:
            merged[entry.key] = entry
    return Entries(entries=tuple(merged.values()), mark=child.mark)


def _long_form(entry: Entry) -> Entry:
    """The `fields` of a module with every short form written out."""
    return _written_out(entry) if entry.key == "fields" else entry


def _written_out(entry: Entry) -> Entry:
    if not isinstance(entry.value, Entries):
        return entry
    written = tuple(Entry(key=e.key, mark=e.mark, value=_field(e.value)) for e in entry.value)
    return Entry(key=entry.key, mark=entry.mark, value=Entries(entries=written, mark=entry.value.mark))


def _field(tree: Tree) -> Tree:
    if isinstance(tree, Items) or (isinstance(tree, Text) and tree.text is not None):
        return Entries(entries=(Entry(key="from", mark=tree.mark, value=tree),), mark=tree.mark)
    if isinstance(tree, Entries):
        entries = tuple(_written_out(entry) if entry.key == "item" else entry for entry in tree)
        return Entries(entries=entries, mark=tree.mark)
    return tree
