"""Between the model's values and the JSON that columns hold."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from gateway.model.order import Attributes, Fault, Place, Provenance, Severity, Value

Json = Any

_FAULT, _PLACE = (tuple((field.name, field.default) for field in fields(kind)) for kind in (Fault, Place))
# A trace is long, so that it is kept as bare values in this order; an older one has the names with them.
_TRACED = ("keyword", "value", "raw", "steps", "at", "empty")
_PLACED = tuple(field.name for field in fields(Place))
_trace_of, _place_of = attrgetter(*_TRACED), attrgetter(*_PLACED)


def write_attributes(attributes: Attributes) -> Json:
    """JSON of the attributes; read back with `read_attributes`."""
    return {keyword: _write_value(value) for keyword, value in attributes.items()}


def read_attributes(json: Mapping[str, Json]) -> Attributes:
    """The attributes that `write_attributes` wrote."""
    return {keyword: _read_value(value) for keyword, value in json.items()}


def write_faults(faults: Iterable[Fault]) -> Json:
    """JSON of the faults; read back with `read_faults`."""
    return [_write(fault, _FAULT) for fault in faults]


def read_faults(json: Iterable[Json]) -> tuple[Fault, ...]:
    """The faults that `write_faults` wrote."""
    return tuple(
        Fault(**{**row, "severity": Severity(row["severity"]), "place": _read_place(row["place"])})
        for row in json
    )


def write_provenance(provenance: Iterable[Provenance]) -> Json:
    """JSON of the provenance; read back with `read_provenance`."""
    return [
        (*_trace_of(entry), _place_of(entry.place) if entry.place is not None else None)
        for entry in provenance
    ]


def read_provenance(json: Iterable[Json]) -> tuple[Provenance, ...]:
    """The provenance that `write_provenance` wrote."""
    named = (
        row if isinstance(row, dict) else dict(zip((*_TRACED, "place"), row, strict=True)) for row in json
    )
    return tuple(
        Provenance(
            **{
                **row,
                "place": _read_place(row["place"]),
                "steps": tuple(row["steps"]),
                "empty": tuple(row.get("empty", ())),
            }
        )
        for row in named
    )


def _write(thing: Fault | Place, names: tuple[tuple[str, Any], ...]) -> Json:
    """The fields of the thing but those that have their default."""
    return {
        name: _write(value, _PLACE) if isinstance(value, Place) else value
        for name, default in names
        if (value := getattr(thing, name)) != default
    }


def _write_value(value: Value) -> Json:
    return value if isinstance(value, str) else [write_attributes(item) for item in value]


def _read_value(json: Json) -> Value:
    return json if isinstance(json, str) else tuple(read_attributes(item) for item in json)


def _read_place(json: Json) -> Place | None:
    if json is None:
        return None
    return Place(**json) if isinstance(json, dict) else Place(**dict(zip(_PLACED, json, strict=True)))
