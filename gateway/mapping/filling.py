"""Attributes made field by field, with where each came from and what is wrong with it.

A fault stops nothing: every other attribute is still made, so that a person sees the whole order.
"""

import json

from gateway.mapping.dictionary import fault_in
from gateway.mapping.module import Alternative, FieldSpec, ItemSpec
from gateway.mapping.scope import Data, Element, Found, Run, Scope, Unfit, standing_at, text_of
from gateway.mapping.transforms.shape import Step
from gateway.model.order import Fault, Item, Place, Provenance, Severity, Value

MISSING = "101"
"""Source: HL7 table 0357."""


class Notes:
    """The trace and the faults of one order, or of one item."""

    def __init__(self) -> None:
        self.provenance: list[Provenance] = []
        self.faults: list[Fault] = []

    def blame(
        self, severity: Severity, keyword: str, place: Place | None, code: str, text: str, at: str
    ) -> None:
        """Note a fault."""
        self.faults.append(
            Fault(severity=severity, keyword=keyword, place=place, code=code, text=text, at=at)
        )


class Filling:
    """The attributes of an order, or of one item of a sequence, in the making.

    `within` is "" for the order; for an item it is the sequence and the item's number, "Sequence[1].".
    """

    def __init__(self, scope: Scope, notes: Notes, *, within: str = "", top: str = "") -> None:
        self.scope = scope
        self.notes = notes
        self.values: dict[str, Value] = {}
        self.run = Run(scope=scope, values=self.values)
        self.has_found = False  # whether the message had anything for it
        self._within = within
        self._top = top  # the attribute of the order that the item belongs to

    def fill(self, field: FieldSpec) -> None:
        """Make one attribute, or note why it could not be made."""
        if field.when and not field.when.holds(self.scope):
            return
        if field.items:
            self._build(field, field.items)
            return
        empty: list[str] = []
        known = len(self.run.unknown)
        for alternative in field.alternatives:
            found = read_found(alternative, self.run)
            if not found and alternative.path is not None:  # most alternatives of most messages
                empty.append(alternative.label)
                continue
            try:
                data = made_of(alternative, found, self.run)
                if not data and found and all(hit.is_null for hit in found) and not self._within:
                    self._delete(field, found[0], empty)
                    return
                if data and self._set(field, found, alternative, data, empty):
                    del self.run.unknown[known:]  # another table knew
                    self.has_found = self.has_found or bool(found)
                    return
            except Unfit as unfit:
                self.has_found = True
                place = found[0].place if found else None
                self._blame_value(field, unfit, place, alternative.label)
                return
            empty.append(alternative.label)
        self._fall_back(field, empty)

    def _build(self, field: FieldSpec, spec: ItemSpec) -> None:
        """The items of a sequence: one for each thing found that has anything to tell."""
        found = spec.path.read(self.scope) if spec.path else ()
        if found and all(hit.is_null for hit in found):
            self._delete(field, found[0], [])
            return
        scopes = [standing_at(self.scope, hit) for hit in found if not hit.is_null]
        items: list[Item] = []
        for scope in scopes if spec.path else [self.scope]:
            if spec.only is None or spec.only.holds(scope):
                items += self._item(field, spec, scope, len(items) + 1)
        if items:
            self.values[field.target.keyword] = tuple(items)
            self.has_found = True
            self._trace(field, tuple(items), found, ("item",), ())
        elif field.required:
            label = spec.path.text if spec.path else "item"
            place = spec.path.place(self.scope) if spec.path else None
            self._blame_missing(field, place, label)

    def _item(self, field: FieldSpec, spec: ItemSpec, scope: Scope, number: int) -> list[Item]:
        """One item; none where the message had nothing for it, whatever its defaults."""
        notes = Notes()
        keyword = field.target.keyword
        inner = Filling(scope, notes, within=f"{self._within}{keyword}[{number}].", top=self._top or keyword)
        for part in spec.fields:
            inner.fill(part)
        self.run.unknown.extend(inner.run.unknown)
        if not inner.has_found:
            return []
        self.notes.faults += notes.faults
        if not inner.values:
            return []
        self.notes.provenance += notes.provenance
        return [inner.values]

    def _set(
        self,
        field: FieldSpec,
        found: tuple[Found, ...],
        alternative: Alternative,
        data: Data,
        empty: list[str],
    ) -> bool:
        """Whether the data made a value. Raises Unfit when DICOM does not allow it."""
        value = _final(field, data)
        if not value:
            return False
        fault = fault_in(field.target, value, field.limit)
        if fault:
            raise Unfit(fault)
        self.values[field.target.keyword] = value
        self._trace(field, value, found, alternative.labels, tuple(empty))
        return True

    def _trace(
        self,
        field: FieldSpec,
        value: Value,
        found: tuple[Found, ...],
        steps: tuple[str, ...],
        empty: tuple[str, ...],
    ) -> None:
        self.notes.provenance.append(
            Provenance(
                keyword=self._within + field.target.keyword,
                value=value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
                place=found[0].place if found else None,
                raw=found[0].raw if len(found) == 1 else "~".join([hit.raw for hit in found]),
                steps=steps,
                at=field.at,
                empty=empty,
            )
        )

    def _delete(self, field: FieldSpec, hit: Found, empty: list[str]) -> None:
        """The sender asks to delete the value; one that is required cannot be deleted."""
        keyword = self._within + field.target.keyword
        if field.required:
            text = f"{keyword} is required and {hit.place.path} asks to delete it"
            self._blame(field, field.required, hit.place, MISSING, text)
        elif not self._within:
            self.values[field.target.keyword] = ""
            self._trace(field, "", (hit,), ("delete",), tuple(empty))

    def _fall_back(self, field: FieldSpec, empty: list[str]) -> None:
        value: Value = ""
        steps: tuple[str, ...] = ()
        if field.otherwise:
            try:
                value, steps = self._otherwise(field), tuple(step.label for step in field.otherwise)
            except Unfit as unfit:
                self._blame_value(field, unfit, None, "else")
                return
        if not value and field.default:
            value, steps = field.default, ("default",)
        if value:
            self.values[field.target.keyword] = value
            self._trace(field, value, (), steps, tuple(empty))
        elif field.required:
            place = where_to_look(field.alternatives, self.scope)
            self._blame_missing(field, place, ", ".join(empty) or "all")

    def _otherwise(self, field: FieldSpec) -> Value:
        """What `else` makes. Raises Unfit when it is not allowed."""
        made = _through(field.otherwise, (), self.run)
        value = _final(field, made) if made else ""
        fault = fault_in(field.target, value, field.limit) if value else ""
        if fault:
            raise Unfit(fault)
        return value

    def _blame_missing(self, field: FieldSpec, place: Place | None, labels: str) -> None:
        text = f"{self._within}{field.target.keyword} is required; nothing found at {labels}"
        self._blame(field, field.required or field.invalid, place, MISSING, text)

    def _blame_value(self, field: FieldSpec, unfit: Unfit, place: Place | None, label: str) -> None:
        text = f"{self._within}{field.target.keyword}: {label} {unfit.text}"
        self._blame(field, unfit.severity or field.invalid, place, unfit.code, text)

    def _blame(self, field: FieldSpec, severity: Severity, place: Place | None, code: str, text: str) -> None:
        self.notes.blame(severity, self._top or field.target.keyword, place, code, text, field.at)


def read_found(alternative: Alternative, run: Run) -> tuple[Found, ...]:
    """What stands where the alternative points to; nothing when it is a fixed value or does not apply."""
    if alternative.path is None or (alternative.when and not alternative.when.holds(run.scope)):
        return ()
    return alternative.path.read(run.scope)


def made_of(alternative: Alternative, found: tuple[Found, ...], run: Run) -> Data:
    """What the alternative's steps make of what was found, or of its fixed value."""
    if alternative.path is None:
        applies = not alternative.when or alternative.when.holds(run.scope)
        data: Data = (alternative.value,) if applies else ()
    elif not found:
        return ()
    elif len(found) == 1:
        data = () if found[0].is_null else (found[0].datum,)
    else:
        data = tuple([hit.datum for hit in found if not hit.is_null])
    return _through(alternative.steps, data, run) if data else ()


def where_to_look(alternatives: tuple[Alternative, ...], scope: Scope) -> Place | None:
    """The first alternative's place in a segment that is there, else the first one's."""
    places = [place for place in (_place_of(a, scope) for a in alternatives) if place]
    return next((place for place in places if place.line), places[0] if places else None)


def _place_of(alternative: Alternative, scope: Scope) -> Place | None:
    return alternative.path.place(scope) if alternative.path else None


def _through(steps: tuple[Step, ...], data: Data, run: Run) -> Data:
    for step in steps:
        data = step.apply(data, run)
    return data


def _final(field: FieldSpec, data: Data) -> Value:
    """The data as the attribute takes it; empty when nothing is left.

    Of several texts an attribute with one value takes the first, a block of text all of them as lines.
    Raises Unfit.
    """
    if field.target.is_sequence:
        items: list[Element] = [datum for datum in data if isinstance(datum, dict)]
        if len(items) != len(data):
            raise Unfit("is a text; a transform such as 'code' must make an item of it")
        return tuple(items)
    if len(data) == 1:
        return text_of(data[0]).strip()
    texts = [text for text in [text_of(datum).strip() for datum in data] if text]
    if len(texts) < 2:
        return texts[0] if texts else ""
    if field.target.is_text_block:
        return "\n".join(texts)
    if field.target.most == 1:
        return texts[0]
    if any("\\" in text for text in texts):
        raise Unfit("holds a backslash")
    return "\\".join(texts)
