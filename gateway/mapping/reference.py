"""The reference of the mapping language, written from the engine's own types."""

from collections.abc import Iterable, Mapping

from gateway.mapping.dictionary import LENGTHS
from gateway.mapping.language import ALTERNATIVE_KEYS
from gateway.mapping.reading import EACH, MODULE_KEYS
from gateway.mapping.reading_examples import ASPECTS
from gateway.mapping.reading_fields import FIELD_KEYS
from gateway.mapping.transforms import codes, contact, dates, ids, names, pick, text
from gateway.mapping.transforms.catalogue import TRANSFORMS
from gateway.mapping.transforms.samples import SAMPLES
from gateway.mapping.transforms.shape import Parameter, Transform
from gateway.model.order import Action, Severity

MODULE = {
    "mapping": "the module's name",
    "extends": "the module it changes: mappings merge by key, lists, `from`, `do`, `when`, `else` and `only` replace,"
    " null removes; examples are not inherited",
    "about": "a sentence for people",
    "source": "`hl7v2` or `fhir`",
    "fhir_version": "the FHIR version its expressions are checked against",
    "match": "a condition on the message; the module that asks for most wins. Without it the module is a parent only",
    "site": "values of the site, used as `$name` in HL7 tests and conditions, as `%name` in FHIRPath",
    "each": "what one entry is made of: " + "; ".join(f"`{s}`: {' or '.join(EACH[s])}" for s in EACH),
    "resources": "FHIR references to follow: `patient: {reference: subject, required: hold}` makes `%patient`",
    "skip": "a list of `{when: …, because: …}`: orders that are passed over",
    "hold": "a list of `{when: …, because: …}`: orders that wait for a person",
    "action": "what the sender wants: `from`, `pair` (its value is put behind, `XO_CM`, in any case), `do`, "
    "`table` (`unmapped` in a row: what is done with anything that has no row), `unmapped`",
    "tables": "code tables: a mapping, or the name of a CSV file beside the module",
    "fields": "DICOM keyword to field",
    "examples": "a list of `{name, message or file, expect}`; a module whose examples fail is not used",
}
FIELD = {
    "from": "one place or a list; the first with a value wins",
    "do": "transforms of what was found, in order",
    "table": "a table of the module, or one written here",
    "unmapped": "what becomes of a text that the table lacks: `hold`, `reject`, `warn`, `pass` (keep it), `next` (try"
    " the next place), or a fixed value",
    "default": "the value when no place had one",
    "else": "transforms that make a value when no place had one",
    "required": "`hold`, `reject` or `warn` when there is no value at all",
    "invalid": "`hold` (the default), `reject` or `warn` when DICOM does not allow the value",
    "when": "a condition; when it does not hold the field is left alone",
    "max": "a length below what DICOM allows",
    "each": "for a sequence: the path whose every repetition becomes an item",
    "only": "for a sequence: a condition on each of them",
    "item": "for a sequence: the fields of an item",
}
ALTERNATIVE = {
    "from": "one path",
    "value": "a fixed value instead of a path",
    "do": "transforms before those of the field",
    "table": "a table before that of the field",
    "unmapped": "as in a field, but `next` when nothing is said",
    "when": "a condition on this place alone",
}
EXPECTATION = {
    "skip": "why the order is skipped; empty: for any reason",
    "action": "the action",
    "held": "the attributes with a fault that holds; `order` for the order as a whole",
    "warned": "the attributes with a remark; not looked at when left out",
}
ROOMS = {
    "Text": text, "Choosing": pick, "Dates and times": dates, "Names": names, "Codes": codes, "Identifiers": ids,
    "Contact, measures, answers": contact,
}  # fmt: skip

HEAD = """\
# Mapping language

Written by `gateway/mapping/reference.py` from the engine itself; a test keeps the two alike.

## Paths

HL7: `SEG[n]-F[r].C.S`, counted from 1. `[r]` is a number, `*`, or a test on the same repetition:
`PID-3[5=MR].1`, `PID-3[4.1=$mrn_authority].1`; `OBX[3.1=8302-2]-5` picks a segment, `NTE[*]-3` takes all. `PID.3.1`
is `PID-3.1`. A segment alone asks whether it is there. Segments are looked for in the order, then beside it.

FHIR: FHIRPath on the order, with `%patient` and the like from `resources`, and `%name` for a site value.

## Conditions

`{OBR-24: [LAB, SP]}`: a value there is one of these. All entries must hold. `{empty: PATH}`, `{not: {...}}`,
`{any: [{...}, {...}]}`. `$name` compares with a site value.

## Values

A sender that says nothing leaves what is stored; HL7's `""` deletes it. A value that DICOM does not allow is never cut
on its own: write `truncate`. Of several values an attribute with one takes the first, a block of text all as lines.
"""
ITEMS = """\
## Items of sequences

`code` makes items of coded fields. Other sequences are built from their parts:

```yaml
OtherPatientIDsSequence:
  each: "PID-3[*]"                 # every repetition becomes an item
  only: {not: {.5: MR}}            # if this holds
  item:
    PatientID: {from: .1, required: hold}
    IssuerOfPatientID: .4.1
    TypeOfPatientID: {default: TEXT}
```

Inside `item` a path that begins with a dot starts at the repetition (`.4.1`), or at the segment when `each` names one
(`each: "OBX[*]"`, `.5.1`); `.` is all of it. In FHIRPath it is `%item`: `each: "%patient.identifier"`,
`PatientID: "%item.value"`. Other paths read the order as everywhere. A repetition for which the message has nothing
becomes no item, whatever its defaults. `item` without `each` makes one item. Items nest. In a trace the parts are named
`OtherPatientIDsSequence[1].PatientID`; their faults belong to the sequence.
"""
TABLES = """\
## Tables

CSV: `from,to`, or `from,to,valid_from,valid_to` with days such as `2026-03-31`, both included and either left empty.
A row with a period counts for messages of those days: MSH-7, in FHIR `meta.lastUpdated`, else `authoredOn`; a message
without a day finds no such row. A key is a text, a wildcard (`CT*`, `7?020`) or a range (`70010-76499`). An exact key
wins over a wildcard, a wildcard over a range. An empty `to` leaves the value out. Rows that repeat, hide or overlap
each other on some day are faults.
"""
SITE = """\
## Transforms of the site

Python files in `transforms/` beside the modules, loaded only when listed at start-up. The name must be new.

```python
from gateway.mapping.transforms.custom import transform

@transform
def room_of(text: str, sep: str = "-") -> str:
    \"\"\"The room of a resource code.\"\"\"
    return text.partition(sep)[0]
```

It gets the text of each value; an empty result drops it, ValueError means that it cannot be used.
"""


def render() -> str:
    """The whole reference as Markdown."""
    parts = [
        HEAD,
        _keys("Keys of a module", MODULE_KEYS, MODULE),
        _keys("Keys of a field", FIELD_KEYS, FIELD),
        _keys("Keys of a place in `from`", ALTERNATIVE_KEYS, ALTERNATIVE),
        ITEMS,
        TABLES,
        _keys("Keys of an expectation", (*ASPECTS,), EXPECTATION),
        "Every other key is a DICOM keyword with its value; null means absent, of an item only what is named counts.\n",
        f"## Words\n\nActions: {_listed(Action)}. Severities: {_listed(Severity)}.\n\nLengths: "
        + ", ".join(f"{vr} {length}" for vr, length in LENGTHS.items())
        + ".\n",
        "## Transforms\n\nA step is `name`, `name: argument` (the first one) or `name: {argument: value}`.\n",
        *(_room(title, room.TRANSFORMS) for title, room in ROOMS.items()),
        SITE,
    ]
    return "\n".join(parts)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _keys(title: str, keys: Iterable[str], meanings: Mapping[str, str]) -> str:
    rows = "\n".join(f"| `{key}` | {meanings[key]} |" for key in keys)
    return f"## {title}\n\n| key | meaning |\n|---|---|\n{rows}\n"


def _room(title: str, transforms: Iterable[Transform]) -> str:
    rows = "\n".join(_row(TRANSFORMS[transform.name]) for transform in transforms)
    return f"### {title}\n\n| transform | makes | arguments | example |\n|---|---|---|---|\n{rows}\n"


def _row(transform: Transform) -> str:
    sample = SAMPLES[transform.name]
    arguments = ", ".join(_argument(parameter) for parameter in transform.parameters)
    example = f"`{_cell(sample.step)}`: `{_cell(sample.given)}` → `{_cell(sample.made)}`"
    return f"| `{transform.name}` | {_cell(transform.about)} | {arguments} | {example} |"


def _argument(parameter: Parameter) -> str:
    if parameter.default is None:
        return f"`{parameter.name}`"
    default = f" = `{parameter.default}`" if parameter.default.strip() else ""
    choices = f" ({' or '.join(parameter.choices)})" if parameter.choices else ""
    return f"`{parameter.name}`{default}{choices}" if default or choices else f"`{parameter.name}` (optional)"


def _cell(content: str) -> str:
    return content.replace("|", "\\|").replace("\n", "⏎")
