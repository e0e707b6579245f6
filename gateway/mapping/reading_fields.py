"""The `fields` of a module."""

from collections.abc import Iterable

from gateway.mapping.dictionary import Target, fault_in, find_target, keywords
from gateway.mapping.language import SEVERITIES, Language, as_entries, as_text, is_number
from gateway.mapping.loader import Entries, Entry, Tree, did_you_mean
from gateway.mapping.module import FieldSpec, ItemSpec
from gateway.model.order import Severity

FIELD_KEYS = (
    "from", "do", "table", "unmapped", "default", "else", "required", "invalid", "when", "max", "each", "only", "item",
)  # fmt: skip
ITEM_KEYS = ("each", "only", "item", "required", "when")
"""The keys of a field that builds the items of a sequence."""


def read_fields(entries: Iterable[Entry], language: Language) -> tuple[FieldSpec, ...]:
    """The fields that could be read, in the order of the file; every fault is noted."""
    specs = (_read_field(entry, language) for entry in entries)
    return tuple(spec for spec in specs if spec)


def _read_field(entry: Entry, language: Language) -> FieldSpec | None:
    target = find_target(entry.key)
    if target is None:
        hint = did_you_mean(entry.key, keywords())
        language.problems.add(entry.mark, f"'{entry.key}' is no DICOM keyword that a mapping can fill{hint}")
    entries = as_entries(entry.value, f"the field {entry.key}", language.problems)
    if entries is None:
        return None
    is_built = entries.find("item") is not None
    language.known_keys(entries, FIELD_KEYS, "a field")
    items = _read_items(entries, target, language)
    after = (*language.steps(entries.find("do")), *language.lookup(entries, "hold"))
    alternatives = language.alternatives(entries.find("from"), after)
    otherwise = language.steps(entries.find("else"))
    when = entries.find("when")
    condition = language.condition(when) if when is not None else None
    limit = _limit(entries.find("max"), language)
    default = _default(entries.find("default"), target, limit, language)
    required = language.choice(entries.find("required"), "required", SEVERITIES, None)
    invalid = language.choice(entries.find("invalid"), "invalid", SEVERITIES, Severity.HOLD)
    if not is_built and not {"from", "default", "else"} & {e.key for e in entries}:
        language.problems.add(entry.mark, "a field needs 'from', 'default', 'else' or 'item'")
    if target is None:
        return None
    return FieldSpec(
        target=target,
        items=items,
        alternatives=alternatives,
        otherwise=otherwise,
        default=default,
        required=required,
        invalid=invalid,
        when=condition,
        limit=limit,
        mark=entry.mark,
        at=entry.mark.short,
    )


def _read_items(entries: Entries, target: Target | None, language: Language) -> ItemSpec | None:
    """What `each`, `only` and `item` say; None when there is no `item`."""
    item, each, only = entries.find("item"), entries.find("each"), entries.find("only")
    if item is None:
        for tree in (each, only):
            if tree is not None:
                language.problems.add(tree.mark, "each and only go with 'item'")
        return None
    for entry in entries:
        if entry.key in FIELD_KEYS and entry.key not in ITEM_KEYS:
            language.problems.add(entry.mark, f"'{entry.key}' does not go with 'item'")
    if target is not None and not target.is_sequence:
        language.problems.add(item.mark, f"{target.keyword} is no sequence and has no items")
    if only is not None and each is None:
        language.problems.add(only.mark, "only goes with 'each'")
    said = as_text(each, "each", language.problems) if each is not None else None
    path = language.path(said.text or "", said.mark) if said else None
    inside = language.inside_item() if each is not None else language
    inner = as_entries(item, "item", language.problems)
    return ItemSpec(
        path=path,
        only=inside.condition(only) if only is not None else None,
        fields=read_fields(inner or (), inside),
    )


def _default(tree: Tree | None, target: Target | None, limit: int | None, language: Language) -> str | None:
    text = as_text(tree, "default", language.problems) if tree is not None else None
    if text is None or text.text is None:
        return None
    fault = fault_in(target, text.text, limit) if target else ""
    if fault:
        language.problems.add(text.mark, f"the default {fault}")
    return text.text


def _limit(tree: Tree | None, language: Language) -> int | None:
    text = as_text(tree, "max", language.problems) if tree is not None else None
    if text is None:
        return None
    if is_number(text.text or ""):
        return int(text.text or "")
    language.problems.add(text.mark, "max is a whole number")
    return None
