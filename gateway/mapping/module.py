"""A mapping module once read: frozen, compiled, ready to run."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.mapping.conditions import Condition
from gateway.mapping.dictionary import Target
from gateway.mapping.fhir_paths import FhirPath
from gateway.mapping.loader import Mark, Tree
from gateway.mapping.scope import Path
from gateway.mapping.transforms.shape import Step
from gateway.model.order import Action, ModuleRef, Severity


class Source(StrEnum):
    """Which kind of message a module reads."""

    HL7V2 = "hl7v2"
    FHIR = "fhir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One of the places a value may come from: a path, or a fixed `value` when `path` is None.

    `steps` are all that is done to it: its own first, then the field's.
    """

    label: str
    path: Path | None
    value: str
    when: Condition | None
    steps: tuple[Step, ...]
    labels: tuple[str, ...]  # the steps as a trace shows them
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSpec:
    """How the items of a sequence are made: one for each thing at `path`, or one in all when there is none."""

    path: Path | None
    only: Condition | None  # asked of each thing
    fields: "tuple[FieldSpec, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """How one attribute is made."""

    target: Target
    items: ItemSpec | None  # a sequence built item by item; then there are no alternatives
    alternatives: tuple[Alternative, ...]
    otherwise: tuple[Step, ...]  # `else`: run without a value when every alternative was empty
    default: str | None
    required: Severity | None
    invalid: Severity  # what a value that cannot be used does
    when: Condition | None
    limit: int | None  # `max`: characters, below what DICOM allows
    mark: Mark
    at: str  # the mark as a trace shows it


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpec:
    """How the sender's wish is read. With `pair`, "A_B" is looked up before "A", as written before in any case."""

    alternatives: tuple[Alternative, ...]
    pair: Path | None
    table: Mapping[str, Action | None]  # None: as if it were not there, and "A" alone does not count either
    folded: Mapping[str, Action | None]  # the same, by keys without regard to case
    unmapped: Action | Severity  # an action without more ado, or HOLD or REJECT with a fault
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An order that is skipped, or held, and why."""

    when: Condition
    because: str
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSpec:
    """A reference to follow before the fields are made."""

    name: str  # what %name stands for
    reference: FhirPath
    holder: str  # name of the resource that holds the reference; "" is the order itself
    required: Severity | None
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A part of an expected order: a keyword and its value; Text(None) means that it must be absent."""

    keyword: str
    value: Tree
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What should become of one order of an example. `skip` None means that it is not skipped."""

    skip: str | None
    action: str | None
    held: tuple[str, ...]  # the keywords with a fault that holds; "action" and "order" for those of the whole
    warned: tuple[str, ...] | None  # None: not looked at
    values: tuple[Expected, ...]
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A message inside a module and what must come of it."""

    name: str
    message: str  # ER7, or JSON of a resource or Bundle
    expect: tuple[Expectation, ...]
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A mapping module. `match` None means that it serves as a parent only."""

    ref: ModuleRef
    about: str
    source: Source
    match: Condition | None
    each: str  # what one item is made of: "order", "patient", "appointment", or a type of FHIR resource
    site: Mapping[str, str]
    resources: tuple[ResourceSpec, ...]
    skip: tuple[Rule, ...]
    hold: tuple[Rule, ...]
    action: ActionSpec
    fields: tuple[FieldSpec, ...]
    examples: tuple[Example, ...]
    mark: Mark
    parent: str = ""  # the module it extends

    @property
    def name(self) -> str:
        """The module's name."""
        return self.ref.name
