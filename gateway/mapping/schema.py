"""The JSON Schema of a mapping module, made from the engine's own names, for editors that complete and check.

`python -m gateway.mapping.schema > mappings/schema.json` writes it anew. The engine itself is stricter: it knows which
places a message has and what an attribute can hold.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from gateway.mapping.dictionary import LENGTHS, START, find_target, keywords
from gateway.mapping.language import ALTERNATIVE_KEYS, SEVERITIES
from gateway.mapping.lint_fhir import RELEASES
from gateway.mapping.module import Source
from gateway.mapping.reading import ACTIONS, EACH, MODULE_KEYS, TABLE_ACTIONS, UNMAPPED_ACTIONS
from gateway.mapping.reading_examples import ASPECTS
from gateway.mapping.reading_fields import FIELD_KEYS, ITEM_KEYS
from gateway.mapping.transforms.catalogue import TRANSFORMS
from gateway.mapping.transforms.shape import Parameter, Transform

Schema: TypeAlias = dict[str, Any]

_REFERENCE = re.compile(r'\{\s+("\$ref": "[^"]+")\s+\}')
_SCALAR: Schema = {
    "type": ["string", "number", "boolean"]
}  # YAML's own reading of it; the engine takes the text
_MODULE_ABOUT: Mapping[str, str] = {
    "mapping": "the module's name, the same as in `extends` of its children",
    "extends": "the parent whose keys this module changes; null takes a key away",
    "about": "one line for people",
    "source": "the kind of message",
    "fhir_version": "the release whose elements the paths name; both R4B's and R5's without it",
    "match": "the messages that are this module's; without it a module is a parent only",
    "site": "values that paths and conditions name as $name or %name",
    "each": "what one order is made from",
    "resources": "references to follow; each becomes a variable, %patient and so on",
    "skip": "orders that are passed over, and why",
    "hold": "orders that a person must look at, and why",
    "action": "how the sender's wish is read",
    "tables": "code tables: rows, or the name of a CSV file with the columns from,to",
    "fields": "DICOM attributes and where they come from",
    "examples": "messages and what must come of them; a module whose examples fail is not used",
}
_FIELD_ABOUT: Mapping[str, str] = {
    "from": "the places to look at; the first that has a value counts",
    "value": "a fixed value instead of a place",
    "do": "what is done to the value, in order",
    "table": "a table of the module by name, or rows",
    "unmapped": "what counts where the table knows no answer: hold, reject, warn, pass, next or a value",
    "default": "the value when nothing was found",
    "else": "steps that make a value when nothing was found",
    "required": "what an absent value does",
    "invalid": "what a value that DICOM does not allow does; hold without it",
    "when": "only where this holds",
    "max": "the most characters, below what DICOM allows",
    "each": "the things that an item is made from, one item each",
    "only": "asked of each thing: those that it does not hold for make no item",
    "item": "the attributes of an item of the sequence",
}


def render_schema() -> Schema:
    """The schema of a module."""
    child = {"required": ["extends"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Mapping module of the imaging order gateway",
        "type": "object",
        "additionalProperties": False,
        "properties": _described(_module_keys(), MODULE_KEYS, _MODULE_ABOUT),
        "required": ["mapping"],
        "if": child,
        "else": {"required": ["source", "action"]},
        "$defs": {
            "scalar": _SCALAR,
            "texts": _one_or_many(_ref("scalar")),
            "path": {"type": "string", "minLength": 1, "description": "PID-3[4.1=HOSP].1, or FHIRPath"},
            "severity": {"enum": list(SEVERITIES)},
            "condition": _condition(),
            "rule": _closed({"when": _ref("condition"), "because": _ref("scalar")}, ("when", "because")),
            "rows": {"type": "object", "additionalProperties": _or_null(_ref("scalar"))},
            "step": _step(),
            "steps": _one_or_many(_ref("step")),
            "place": {"anyOf": [_ref("path"), _ref("alternative")]},
            "from": _one_or_many(_ref("place")),
            "alternative": _alternative(),
            "field": _field(),
            "fields": _fields(),
            "example": _example(),
            **{vr: _field_of(vr) for vr in sorted(_targets_by_vr())},
        },
    }


def rendered() -> str:
    """The schema as the text of its file."""
    text = json.dumps(render_schema(), indent=1, ensure_ascii=False)
    return _REFERENCE.sub(r"{\1}", text) + "\n"


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_or_many(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "array", "items": schema}]}


def _closed(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return {**schema, "required": list(required)} if required else schema


def _described(
    known: Mapping[str, Schema], keys: Iterable[str], about: Mapping[str, str]
) -> dict[str, Schema]:
    """What the engine knows as keys, each with its schema and a description; null takes an inherited one away."""
    return {
        key: {**_or_null(known.get(key, {})), **({"description": about[key]} if key in about else {})}
        for key in keys
    }


def _module_keys() -> dict[str, Schema]:
    resource = _closed({"reference": _ref("path"), "required": _or_null(_ref("severity"))})
    return {
        "mapping": {"type": "string", "minLength": 1},
        "extends": {"type": "string"},
        "about": _ref("scalar"),
        "source": {"enum": [str(source) for source in Source]},
        "fhir_version": {"enum": list(RELEASES)},
        "match": _ref("condition"),
        "site": {"type": "object", "additionalProperties": _or_null(_ref("scalar"))},
        "each": {"enum": [each for names in EACH.values() for each in names]},
        "resources": {"type": "object", "additionalProperties": _or_null(resource)},
        "skip": {"type": "array", "items": _ref("rule")},
        "hold": {"type": "array", "items": _ref("rule")},
        "action": _action(),
        "tables": {
            "type": "object",
            "additionalProperties": {"anyOf": [_ref("rows"), {"type": ["string", "null"]}]},
        },
        "fields": _ref("fields"),
        "examples": {"type": "array", "items": _ref("example")},
    }


def _action() -> Schema:
    word = _or_null({"enum": list(TABLE_ACTIONS)})
    return _closed(
        {
            "from": _or_null(_ref("from")),
            "pair": _or_null(_ref("path")),
            "do": _or_null(_ref("steps")),
            "table": _or_null({"type": "object", "additionalProperties": word}),
            "unmapped": _or_null({"enum": list(UNMAPPED_ACTIONS)}),
        }
    )


def _condition() -> Schema:
    return {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "empty": {**_ref("texts"), "description": "nothing stands at any of these places"},
            "not": _ref("condition"),
            "any": _one_or_many(_ref("condition")),
        },
        "additionalProperties": _ref("texts"),
        "description": "places and the values that count there; all of them must hold",
    }


def _step() -> Schema:
    bare = [name for name, transform in TRANSFORMS.items() if not _needed(transform)]
    named = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {name: _arguments(transform) for name, transform in TRANSFORMS.items()},
    }
    about = "; ".join(f"{name}: {TRANSFORMS[name].about}" for name in bare)
    own = {"type": "string", "pattern": "^(?!(" + "|".join(TRANSFORMS) + ")$)[a-z_][a-z0-9_]*$"}
    own["description"] = "a transform of the site's own, opted in at start-up"
    return {"anyOf": [{"enum": bare, "description": about}, named, own]}


def _needed(transform: Transform) -> list[str]:
    return [parameter.name for parameter in transform.parameters if parameter.default is None]


def _arguments(transform: Transform) -> Schema:
    known = {parameter.name: _argument(parameter) for parameter in transform.parameters}
    below = _closed(known, _needed(transform))
    allowed = [*(list(known.values())[:1] if len(_needed(transform)) <= 1 else []), below]
    return {"anyOf": allowed, "description": transform.about}


def _argument(parameter: Parameter) -> Schema:
    if parameter.choices:
        return {"enum": list(parameter.choices)}
    if parameter.is_number:
        return {"type": ["integer", "string"], "pattern": "^[0-9]{1,5}$", "minimum": 0}
    return _ref("scalar")


def _alternative() -> Schema:
    known = _described({**_field_keys(), "from": _ref("path")}, ALTERNATIVE_KEYS, _FIELD_ABOUT)
    return {**_closed(known), "oneOf": [{"required": ["from"]}, {"required": ["value"]}]}


def _field_keys() -> dict[str, Schema]:
    return {
        "from": _ref("from"),
        "value": _ref("scalar"),
        "do": _ref("steps"),
        "table": {"anyOf": [_ref("rows"), {"type": "string"}]},
        "unmapped": _ref("scalar"),
        "default": _ref("scalar"),
        "else": _ref("steps"),
        "required": _ref("severity"),
        "invalid": _ref("severity"),
        "when": _ref("condition"),
        "max": {"type": ["integer", "string"], "pattern": "^[0-9]{1,5}$", "minimum": 1},
        "each": _ref("path"),
        "only": _ref("condition"),
        "item": _ref("fields"),
    }


def _field() -> Schema:
    """A field, written short or long. One that builds items has no other source."""
    long = _closed(_described(_field_keys(), FIELD_KEYS, _FIELD_ABOUT))
    others = [key for key in FIELD_KEYS if key not in ITEM_KEYS]
    long["dependencies"] = {
        "item": {"not": {"anyOf": [{"required": [key]} for key in others]}},
        "only": ["each"],
    }
    return {"anyOf": [_ref("path"), {"type": "array", "items": _ref("place")}, long, {"type": "null"}]}


def _targets_by_vr() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for keyword in keywords():
        target = find_target(keyword)
        if target:
            found.setdefault("start" if keyword == START else target.vr, []).append(keyword)
    return found


def _field_of(vr: str) -> Schema:
    if vr == "start":
        about = "ISO 8601 date and time with its zone, as `datetime` makes it, or a bare date"
    elif vr == "SQ":
        about = "SQ: items, made by `code` and its like, or by `item`"
    else:
        longest = 64 if vr == "PN" else LENGTHS.get(vr)
        about = f"{vr}, at most {longest} characters" if longest else vr
    return {"allOf": [_ref("field")], "description": about}


def _fields() -> Schema:
    found = {k: _ref(vr) for vr, names in _targets_by_vr().items() for k in names}
    return _closed({keyword: found[keyword] for keyword in sorted(found)})


def _example() -> Schema:
    expectation = {
        "type": "object",
        "properties": {
            "skip": {**_ref("scalar"), "description": "why the order is passed over"},
            "action": {"enum": list(ACTIONS)},
            "held": _ref("texts"),
            "warned": _ref("texts"),
        },
        "propertyNames": {"anyOf": [{"enum": list(ASPECTS)}, {"pattern": "^[A-Z][A-Za-z0-9]+$"}]},
    }
    known = {
        "name": _ref("scalar"),
        "message": {"type": "string", "description": "an HL7 message, or a resource or Bundle as JSON"},
        "file": {"type": "string", "description": "a file beside the module instead of message"},
        "expect": {"type": "array", "items": expectation},
    }
    return {
        **_closed(known, ("name", "expect")),
        "oneOf": [{"required": ["message"]}, {"required": ["file"]}],
    }


if __name__ == "__main__":
    sys.stdout.write(rendered())
