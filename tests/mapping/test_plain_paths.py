"""What is read directly is what the FHIRPath library finds, in whatever a sender writes."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mapping.fhir_paths import FhirPath, compile_fhirpath
from gateway.mapping.plain_paths import Elements, compile_plain
from gateway.mapping.registry import Modules

ELEMENTS = Elements(models["r4"])
NAMES = frozenset({"order", "patient", "mrn_system", "other"})

EXPRESSIONS = (
    "status",
    "code.coding.code",
    "identifier.value",
    "identifier.where(system='urn:a').value",
    "identifier.where(system=%mrn_system).value",
    "identifier.where(type.coding.where(code='ACSN').exists()).value",
    "identifier.where(type.coding.where(code='MR').exists() and (use.empty() or use != 'old')).value",
    "identifier.where(system=%mrn_system and (use.empty() or use != 'old') and period.end.empty()).value",
    "identifier.where(use='usual' and period.end.empty()).value",
    "identifier.where(use.empty() or (use != 'old' and use != 'maiden')).value",
    "identifier.where(value).system",
    "identifier.where(system != value or use).value",
    "identifier.where(use and system.exists()).value",
    "identifier.where(type.coding.code='VN' or type.coding.code='MR')",
    "%patient.identifier.where(use='usual').value",
    "%patient.name",
    "%order.identifier.exists()",
    "code.empty()",
    "value",
    "value.code",
    "%patient.value",
    "category.coding.where(system='urn:a').code",
)
TEXTS = st.sampled_from(("urn:a", "urn:b", "usual", "old", "ACSN", "MR", "VN", ""))
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
KEYS = (
    "identifier",
    "value",
    "system",
    "use",
    "type",
    "coding",
    "code",
    "category",
    "name",
    "status",
    "period",
    "end",
)
EXTENDED = st.just({"extension": [{"url": "urn:x", "valueString": "y"}]})


def parts(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from((*KEYS, *(f"_{key}" for key in KEYS), "valueString", "extension"))
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4))


ANYTHING = st.recursive(st.one_of(ODD, EXTENDED), parts, max_leaves=12)
CODING = st.fixed_dictionaries({}, optional={"system": TEXTS, "code": TEXTS})
CONCEPT = st.fixed_dictionaries({}, optional={"coding": st.lists(CODING, max_size=3), "text": TEXTS})
IDENTIFIER = st.fixed_dictionaries(
    {},
    optional={
        "system": TEXTS,
        "value": TEXTS,
        "use": TEXTS,
        "type": CONCEPT,
        "_use": EXTENDED,
        "period": st.fixed_dictionaries({}, optional={"end": TEXTS, "_end": EXTENDED}),
    },
)
LIKELY = {
    "identifier": st.lists(IDENTIFIER, max_size=3),
    "code": CONCEPT,
    "category": st.lists(CONCEPT, max_size=2),
    "status": TEXTS,
    "name": st.lists(st.fixed_dictionaries({}, optional={"use": TEXTS, "family": TEXTS}), max_size=2),
}
RESOURCES = st.builds(
    lambda kind, said: {"resourceType": kind, **said},
    st.sampled_from(("ServiceRequest", "Patient", "Task", "Appointment", "Unknown", "Observation")),
    st.one_of(
        st.fixed_dictionaries({}, optional=LIKELY),
        st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=6),
    ),
)


def found_by(evaluate: Any, resource: Any, variables: Any) -> object:
    try:
        return evaluate(resource, dict(variables))
    except Exception as fault:
        return type(fault)


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("release", ["R4", "R5"])
@settings(max_examples=60)
@given(order=RESOURCES, patient=st.one_of(st.none(), RESOURCES))
def test_the_library_finds_the_same(text: str, release: str, order: Any, patient: Any) -> None:
    variables = {"order": order, "patient": patient, "mrn_system": "urn:a"}
    by_library = fhirpathpy.compile(text, model=models[release.lower()])
    ours = compile_fhirpath(text, NAMES, release)
    assert found_by(ours.evaluate, order, variables) == found_by(by_library, order, variables)


@pytest.mark.parametrize(
    "text",
    [
        "input.value", "Patient.name", "identifier[0]", "identifier.first()", "length",
        "name.given.length", "a | b", "status = 'active'", "identifier.where($this.use='x')", "extension('x')",
        "identifier.where(use in 'x')", "identifier.where(use='it\\'s')", "%`other`", "a.exists().b", "(a)",
        "identifier.exists(use='old')", "",
    ],
)  # fmt: skip
def test_whatever_is_not_plain_is_left_to_the_library(text: str) -> None:
    assert compile_plain(text, ELEMENTS) is None


def test_nearly_all_that_is_shipped_is_plain(modules: Modules) -> None:
    """What was fast must not become slow because a module was written anew."""
    shipped = {path.text for path in _expressions([modules.module(name) for name in modules.names])}
    assert len(shipped) > 50
    slow = sorted(text for text in shipped if compile_plain(text, ELEMENTS) is None)
    assert len(slow) <= 6, slow


def _expressions(thing: object) -> Iterator[FhirPath]:
    """Every FHIRPath expression inside."""
    if isinstance(thing, FhirPath):
        yield thing
    elif isinstance(thing, Mapping):
        yield from _expressions(list(thing.values()))
    elif isinstance(thing, (list, tuple, set, frozenset)):
        for part in thing:
            yield from _expressions(part)
    elif is_dataclass(thing):
        for one in fields(thing):
            yield from _expressions(getattr(thing, one.name))
