from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.delivery import DeliveryState
from gateway.model.lifecycle import State
from gateway.model.message import MessageState
from gateway.model.study import StudyState
from gateway.web import wording

TODAY = date(2026, 11, 23)


def test_every_state_has_a_chip_with_text_shape_and_colour() -> None:
    assert set(wording.ORDER_CHIPS) == set(State)
    assert set(wording.STUDY_CHIPS) == set(StudyState)
    assert set(wording.MESSAGE_CHIPS) == set(MessageState)
    assert set(wording.DELIVERY_CHIPS) == set(DeliveryState)
    shown = [(chip.label, chip.icon) for chip in wording.ORDER_CHIPS.values()]
    assert len(set(shown)) == len(shown)
    assert len({icon for _, icon in shown}) == len(shown)


@pytest.mark.parametrize(
    ("birth", "words"),
    [
        ("19800214", "46 y"),
        ("19801124", "45 y"),
        ("20251102", "12 mo"),
        ("20261120", "3 d"),
        ("20261123", "0 d"),
        ("20270101", ""),
        ("1980", ""),
        ("", ""),
    ],
)
def test_ages_are_told_as_one_says_them(birth: str, words: str) -> None:
    assert wording.age_words(birth, TODAY) == words


@given(st.text())
def test_any_birth_date_can_be_shown(text: str) -> None:
    assert wording.birth_words(text)
    assert isinstance(wording.age_words(text, TODAY), str)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Doe^Jane^Q^Dr", "Doe, Jane Q"),
        ("Doe", "Doe"),
        ("^Jane", "Jane"),
        ("", "(no name)"),
        ("Yamada^Tarou=山田^太郎", "Yamada, Tarou"),
    ],
)
def test_names_are_told_as_one_reads_them(name: str, words: str) -> None:
    assert wording.person_words(name) == words


def test_keywords_fall_into_words() -> None:
    assert wording.keyword_words("ScheduledStationAETitle") == "Scheduled Station AE Title"
    assert wording.keyword_words("PatientID") == "Patient ID"


def test_actors_and_sizes_have_words() -> None:
    told = [wording.actor_words(a) for a in ("user:anna", "hl7:ris", "dicom:US1", "gateway", "odd")]
    assert told == ["anna", "HL7 (ris)", "machine US1", "the gateway", "odd"]
    assert [wording.size_words(n) for n in (12, 34_567, 1_440_000)] == ["12 bytes", "35 kB", "1.4 MB"]
