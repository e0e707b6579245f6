"""The `fields` of a module."""

from collections.abc import Iterable

from gateway.mapping.dictionary import Target, fault_in, find_target, keywords
from gateway.mapping.language import SEVERITIES, Language, as_entries, as_text, is_number
from gateway.mapping.loader import Entry, Tree, did_you_mean
from gateway.mapping.module import FieldSpec
from gateway.model.order import Severity

FIELD_KEYS = ("from", "do", "table", "unmapped", "default", "else", "required", "invalid", "when", "max")


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
    language.known_keys(entries, FIELD_KEYS, "a field")
    after = (*language.steps(entries.find("do")), *language.lookup(entries, "hold"))
    alternatives = language.alternatives(entries.find("from"), after)
    otherwise = language.steps(entries.find("else"))
    when = entries.find("when")
    condition = language.condition(when) if when is not None else None
    limit = _limit(entries.find("max"), language)
    default = _default(entries.find("default"), target, limit, language)
    required = language.choice(entries.find("required"), "required", SEVERITIES, None)
    invalid = language.choice(entries.find("invalid"), "invalid", SEVERITIES, Severity.HOLD)
    if not {"from", "default", "else"} & {e.key for e in entries}:
        language.problems.add(entry.mark, "a field needs 'from', 'default' or 'else'")
    if target is None:
        return None
    return FieldSpec(
        target=target,
        alternatives=alternatives,
        otherwise=otherwise,
        default=default,
        required=required,
        invalid=invalid,
        when=condition,
        limit=limit,
        mark=entry.mark,
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
