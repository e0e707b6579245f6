"""FHIRPath: what it finds, and what is refused although the library forgives it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.fhir_paths import BadExpression, compile_fhirpath
from gateway.mapping.scope import Focus, raw_of

KNOWN = frozenset({"patient", "mrn_system"})
ORDER = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "doNotPerform": True,
    "quantityQuantity": {"value": 1.5},
    "identifier": [{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}, {"value": ""}],
}
PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:m", "value": "MRN"}]}


def read(text: str, order: object = ORDER) -> list[str]:
    scope = Focus(order=order, variables={"patient": PATIENT, "mrn_system": "urn:m"})  # type: ignore[arg-type]
    return [raw_of(found.datum) for found in compile_fhirpath(text, KNOWN).read(scope)]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("status", ["active"]),
        ("resourceType", ["ServiceRequest"]),
        ("doNotPerform", ["true"]),
        ("identifier.value", ["1", "2"]),
        ("identifier.where(system='urn:b').value", ["2"]),
        ("%patient.identifier.where(system=%mrn_system).value", ["MRN"]),
        ("quantityQuantity.value", ["1.5"]),
        ("occurrenceDateTime", []),
        ("subject.reference", []),
    ],
)
def test_an_expression_finds_what_stands_there(text: str, texts: list[str]) -> None:
    assert read(text) == texts


@pytest.mark.parametrize(
    "text",
    ["", " ", "identifier..value", "identifier.where(value='1'", "identifier.value)", "identifier.where(value='1)",
     "%nobody.name", "a b c(", "identifier[0", "'", "identifier.where(value=]", "1 +"],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(BadExpression):
        compile_fhirpath(text, KNOWN)


def test_an_absent_resource_is_empty() -> None:
    scope = Focus(order=ORDER, variables={"patient": None, "mrn_system": ""})
    assert compile_fhirpath("%patient.name", KNOWN).read(scope) == ()
    assert compile_fhirpath("identifier.where(system=%mrn_system).value", KNOWN).read(scope) == ()


def test_the_place_is_the_expression() -> None:
    scope = Focus(order=ORDER, variables={"patient": None, "mrn_system": ""})
    assert str(compile_fhirpath("status", KNOWN).read(scope)[0].place) == "status"


PATHS = [
    compile_fhirpath(text, KNOWN)
    for text in (
        "identifier.where(type.coding.where(code='MR').exists() and (use.empty() or use != 'old')).value",
        "name.where(use='official')",
        "code.coding.code",
        "occurrencePeriod.start",
        "%patient.birthDate",
    )
]
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["identifier", "type", "coding", "code", "use", "value", "name"]), inner
        ),
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["identifier", "name", "code", "occurrencePeriod", "birthDate"]), JSON)
)
def test_any_expression_on_any_resource_gives_values_or_nothing(order: dict[str, object]) -> None:
    scope = Focus(order=order, variables={"patient": order, "mrn_system": "x"})
    for path in PATHS:
        assert all(isinstance(raw_of(found.datum), str) for found in path.read(scope))
