"""Whether an order's attributes match the keys that have no column. Source: DICOM PS3.4 C.2.2.2."""

from collections.abc import Mapping

from gateway.model.order import Attributes, Value
from gateway.model.worklist import Match
from gateway.store.matching import accepts


def agrees(attributes: Attributes, others: Mapping[str, Match]) -> bool:
    """Whether every key matches. `Sequence.Key` is a key of a sequence: one item must match all of those.

    An attribute without a value matches no key.
    """
    own = {name: match for name, match in others.items() if "." not in name}
    nested: dict[str, dict[str, Match]] = {}
    for name, match in others.items():
        head, dot, rest = name.partition(".")
        if dot:
            nested.setdefault(head, {})[rest] = match
    return all(_has(attributes.get(name, ""), match) for name, match in own.items()) and all(
        _has_item(attributes.get(name, ()), keys) for name, keys in nested.items()
    )


def _has(value: Value, match: Match) -> bool:
    return isinstance(value, str) and any(accepts(match, part.strip()) for part in value.split("\\"))


def _has_item(value: Value, keys: Mapping[str, Match]) -> bool:
    return not isinstance(value, str) and any(agrees(item, keys) for item in value)
