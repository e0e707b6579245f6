from typing import Any

import pytest
from pydicom.sr import _concepts_dict

from gateway.fhir.anatomy import BODY_PARTS, SIDES, body_part
from gateway.fhir.coding import SYSTEMS, coding, concept, concepts, site
from gateway.model.measurement import Code

CONCEPTS: Any = _concepts_dict.concepts
SNOMED = {(code, meaning) for named in CONCEPTS["SCT"].values() for code, (meaning, _) in named.items()}


@pytest.mark.parametrize(("term", "concept"), sorted({**BODY_PARTS, **SIDES}.items()))
def test_every_body_part_is_a_concept_of_dicoms_own(term: str, concept: tuple[str, str]) -> None:
    assert concept in SNOMED, term


@pytest.mark.parametrize("text", ["CSPINE", "c-spine", " C SPINE "])
def test_blanks_and_signs_in_a_body_part_do_not_matter(text: str) -> None:
    assert body_part(text) == ("122494005", "Cervical spine")
    assert body_part("C-SPINE PEDIATRIC") is None


@pytest.mark.parametrize("system", SYSTEMS.values())
def test_a_system_is_a_uri(system: str) -> None:
    assert system.startswith(("http://", "https://", "urn:"))


@pytest.mark.parametrize("scheme", ["SRT", "SNM3", "99SDM"])
def test_older_snomed_codes_become_snomed_ct(scheme: str) -> None:
    told = coding(Code(value="T-71000", scheme=scheme, meaning="Kidney"))
    assert told == {"system": "http://snomed.info/sct", "code": "64033007", "display": "Kidney"}


@pytest.mark.parametrize("scheme", ["99ACME", "L", "", "SRT", "urn:x"])
def test_an_unknown_scheme_is_never_a_system(scheme: str) -> None:
    unknown = Code(value="X-1", scheme=scheme, meaning="Something")
    assert coding(unknown) == {"display": "Something"}
    assert concept(unknown) == {"text": "Something"}
    assert concept(Code(value="X-1", scheme=scheme, meaning="")) == {"text": "X-1"}


def test_a_concept_is_told_once() -> None:
    kidney = Code(value="64033007", scheme="SCT", meaning="Kidney")
    assert len(concepts((kidney, kidney, Code(value="", scheme="", meaning="")))) == 1


def test_a_region_wins_over_the_word_and_nothing_is_nothing() -> None:
    kidney = Code(value="64033007", scheme="SCT", meaning="Kidney")
    assert site("ABDOMEN", kidney)["code"] == "64033007"
    assert site("ABDOMEN", Code(value="K", scheme="99X", meaning="Kidney"))["code"] == "818981001"
    assert site("", None) == {}
