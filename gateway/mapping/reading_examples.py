"""The `examples` of a module."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from gateway.mapping.dictionary import find_target, keywords
from gateway.mapping.language import as_entries, as_text, as_texts, note_unknown_keys
from gateway.mapping.loader import Entries, Items, Problems, Text, Tree, did_you_mean
from gateway.mapping.module import Example, Expectation, Expected
from gateway.model.errors import Invalid

OpenFile: TypeAlias = Callable[[str], bytes]
"""The content of a file beside the module; raises Invalid with the reason."""

ASPECTS = ("skip", "action", "held", "warned")
"""What an expectation may name besides DICOM keywords."""


def read_examples(trees: Iterable[Tree], open_file: OpenFile, problems: Problems) -> tuple[Example, ...]:
    """The examples that could be read, in the order of the file; every fault is noted."""
    examples = (_read_example(tree, open_file, problems) for tree in trees)
    return tuple(example for example in examples if example)


def _read_example(tree: Tree, open_file: OpenFile, problems: Problems) -> Example | None:
    entries = as_entries(tree, "an example", problems)
    if entries is None:
        return None
    note_unknown_keys(entries, ("name", "message", "file", "expect"), "an example", problems)
    name, expect = entries.find("name"), entries.find("expect")
    message = _read_message(entries, open_file, problems)
    if not isinstance(name, Text) or not name.text or not isinstance(expect, Items) or message is None:
        problems.add(entries.mark, "an example has 'name', 'message' or 'file', and a list 'expect'")
        return None
    found = (_read_expectation(item, problems) for item in expect.items)
    return Example(name=name.text, message=message, expect=tuple(e for e in found if e), mark=entries.mark)


def _read_message(entries: Entries, open_file: OpenFile, problems: Problems) -> str | None:
    message, file = entries.find("message"), entries.find("file")
    if file is None:
        return message.text if isinstance(message, Text) else None
    text = as_text(file, "file", problems)
    if text is None or not text.text:
        return None
    try:
        return open_file(text.text).decode("utf-8")
    except UnicodeDecodeError:
        problems.add(text.mark, "the file is not UTF-8")
    except Invalid as fault:
        problems.add(text.mark, str(fault))
    return ""


def _read_expectation(tree: Tree, problems: Problems) -> Expectation | None:
    entries = as_entries(tree, "an expectation", problems)
    if entries is None:
        return None
    values = tuple(entry for entry in entries if entry.key not in ASPECTS)
    for entry in values:
        if find_target(entry.key) is None:
            hint = did_you_mean(entry.key, (*ASPECTS, *keywords()))
            problems.add(entry.mark, f"'{entry.key}' is no DICOM keyword{hint}")
    return Expectation(
        skip=_one(entries, "skip", problems),
        action=_one(entries, "action", problems),
        held=_several(entries, "held", problems) or (),
        warned=_several(entries, "warned", problems),
        values=tuple(Expected(keyword=e.key, value=e.value, mark=e.mark) for e in values),
        mark=entries.mark,
    )


def _one(entries: Entries, key: str, problems: Problems) -> str | None:
    tree = entries.find(key)
    text = as_text(tree, key, problems) if tree is not None else None
    return (text.text or "") if text else None


def _several(entries: Entries, key: str, problems: Problems) -> tuple[str, ...] | None:
    tree = entries.find(key)
    return None if tree is None else tuple(text.text or "" for text in as_texts(tree, key, problems))
