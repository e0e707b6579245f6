"""FHIR JSON read and written so that 52.10 stays 52.10. Source: FHIR R4 json.html, decimal."""

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def read_exact(raw: bytes) -> Any:
    """The JSON tree with numbers that have a fraction as Decimal. Raises ValueError, RecursionError."""
    return json.loads(raw, parse_float=_decimal)


def encode_exact(tree: Any) -> bytes:
    """The tree as bytes, each Decimal with the digits it was read with."""
    try:
        return _write(tree).encode()
    except TypeError:  # a Decimal is in it
        return "".join(_parts(tree)).encode()


def _decimal(digits: str) -> Decimal:
    """Raises ValueError for an exponent beyond all bounds."""
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise ValueError("a number has an exponent beyond all bounds") from None


def _parts(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        mark = "{"
        for name, value in tree.items():
            yield f"{mark}{_write(name)}:"
            yield from _parts(value)
            mark = ","
        yield "}" if mark == "," else "{}"
    elif isinstance(tree, list):
        mark = "["
        for value in tree:
            yield mark
            yield from _parts(value)
            mark = ","
        yield "]" if mark == "," else "[]"
    else:
        yield str(tree) if isinstance(tree, Decimal) else _write(tree)
