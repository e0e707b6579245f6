"""Keys of a C-FIND identifier, alone and through the real SQL against a plain reading of PS3.4."""

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from gateway.dicom.elements import IMPLICIT, Syntax
from gateway.dicom.keys import Asked, query, read_keys
from gateway.flow.ports import Ports
from gateway.model.errors import Malformed
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.worklist import Match, Range, WorklistQuery
from gateway.store import worklist

Make = Callable[..., Order]
Keys = Callable[..., Dataset]
Ask = Callable[[Dataset], Asked]


@pytest.fixture
def read(keys: Keys, asked: Ask) -> Callable[..., WorklistQuery]:
    return lambda **given: query(asked(keys(**given)).keys)


Read = Callable[..., WorklistQuery]


def test_empty_keys_are_universal(read: Read) -> None:
    found = read(step={"Modality": "", "ScheduledProcedureStepStartDate": ""}, PatientName="", PatientID="")
    assert found == WorklistQuery()


def test_a_value_of_asterisks_is_universal_in_every_vr(read: Read) -> None:
    step = {"Modality": "*", "ScheduledProcedureStepStartDate": "*", "ScheduledProcedureStepStartTime": "**"}
    assert read(step=step, PatientName="*", StudyInstanceUID="*") == WorklistQuery()


def test_a_key_sequence_without_items_or_with_an_empty_one_is_universal(read: Read, keys: Keys) -> None:
    dataset = keys()
    dataset.ScheduledProcedureStepSequence = []
    assert read(step={}) == WorklistQuery()
    assert read(ScheduledProcedureStepSequence=[]) == WorklistQuery()


def test_single_values_lose_their_padding(read: Read) -> None:
    found = read(step={"Modality": "US ", "ScheduledStationAETitle": " US1   "}, PatientID=" 7 ")
    assert found.modality == Match(values=("US",))
    assert found.station == Match(values=("US1",))
    assert found.patient_id == Match(values=("7",))


def test_several_values_are_alternatives(read: Read) -> None:
    found = read(step={"Modality": ["US", "CT"]}, StudyInstanceUID=["1.2", "1.3"])
    assert found.modality == Match(values=("US", "CT"))
    assert found.study_uid == Match(values=("1.2", "1.3"))


def test_wildcards_are_seen_where_their_vr_has_them(read: Read) -> None:
    found = read(AccessionNumber="A?1*", PatientID="*7")
    assert found.accession == Match(values=("A?1*",), is_wild=True)
    assert found.patient_id == Match(values=("*7",), is_wild=True)


def test_keys_of_the_step_count_at_the_top_level_and_those_in_the_sequence_win(read: Read) -> None:
    assert read(Modality="US").modality == Match(values=("US",))
    assert read(step={"Modality": "CT"}, Modality="US").modality == Match(values=("CT",))


def test_keys_that_cannot_narrow_a_worklist_are_passed_over(read: Read, keys: Keys) -> None:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "PATIENT"
    dataset.StudyDate = "20260101"
    dataset.Manufacturer = "ACME"
    dataset.add_new(0x00100000, "UL", 12)
    dataset.add_new(0x00090010, "LO", "ACME")
    dataset.add_new(0x00091001, "LO", "X")
    assert read(**{e.keyword: e.value for e in dataset if e.keyword}) == WorklistQuery()


def test_group_lengths_and_private_keys_are_no_keys(keys: Keys, asked: Ask) -> None:
    dataset = keys(PatientName="")
    dataset.add_new(0x00100000, "UL", 12)
    dataset.add_new(0x00090010, "LO", "ACME")
    dataset.add_new(0x00091001, "LO", "X")
    assert [key.keyword for key in asked(dataset).keys] == ["PatientName"]


def test_keys_without_a_column_are_left_to_the_caller(read: Read) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "US01", "L"
    found = read(
        step={"ScheduledProcedureStepStatus": "SCHEDULED", "ScheduledProtocolCodeSequence": [code]},
        PatientBirthDate="19800214",
    )
    assert found.others == {
        "ScheduledProcedureStepStatus": Match(values=("SCHEDULED",)),
        "ScheduledProtocolCodeSequence.CodeValue": Match(values=("US01",)),
        "ScheduledProtocolCodeSequence.CodingSchemeDesignator": Match(values=("L",)),
        "PatientBirthDate": Match(values=("19800214",)),
    }


DATES = {
    "20260131": Range(first="20260131", last="20260131"),
    "20260101-20260131": Range(first="20260101", last="20260131"),
    "-20260131": Range(last="20260131"),
    "20260101-": Range(first="20260101"),
    "20260101 - 20260131 ": Range(first="20260101", last="20260131"),
    "2026.01.31": Range(first="20260131", last="20260131"),
}


@pytest.mark.parametrize("text", DATES)
def test_dates_and_ranges_of_them(text: str, read: Read) -> None:
    assert read(step={"ScheduledProcedureStepStartDate": text}).date == DATES[text]


TIMES = {
    "10": Range(first="100000", last="105959"),
    "1030": Range(first="103000", last="103059"),
    "103000.000": Range(first="103000", last="103000"),
    "10:30:15": Range(first="103015", last="103015"),
    "08-10": Range(first="080000", last="105959"),
    "0830-": Range(first="083000"),
    "-1700": Range(last="170059"),
    "2200-0600": Range(first="220000", last="060059"),
}


@pytest.mark.parametrize("text", TIMES)
def test_times_and_ranges_of_them(text: str, read: Read) -> None:
    assert read(step={"ScheduledProcedureStepStartTime": text}).time == TIMES[text]


@pytest.mark.parametrize(
    "text", ["20261301", "2026-01-31", "20260230", "today", "-", "2026", "20260101\\20260102"]
)
def test_a_date_that_cannot_be_read_is_refused_by_name_only(text: str, keys: Keys) -> None:
    data = text.encode() + b" " * (len(text) % 2)
    element = b"\x40\x00\x02\x00" + len(data).to_bytes(4, "little") + data
    with pytest.raises(Malformed) as caught:
        query(read_keys(element, IMPLICIT).keys)
    assert str(caught.value) == "ScheduledProcedureStepStartDate (0040,0002): cannot be read"


@pytest.mark.parametrize("text", ["25", "1060", "noon", "1", "103", "10300"])
def test_a_time_that_cannot_be_read_is_refused(text: str) -> None:
    data = text.encode() + b" " * (len(text) % 2)
    element = b"\x40\x00\x03\x00" + len(data).to_bytes(4, "little") + data
    with pytest.raises(Malformed, match="ScheduledProcedureStepStartTime"):
        query(read_keys(element, IMPLICIT).keys)


def test_a_hostile_pattern_is_matched_in_no_time(order_factory: Make, ports: Ports, read: Read) -> None:
    order_factory(name="a" * 64)
    assert _found(ports, read(PatientName="*a" * 30 + "*b")) == set()
    assert len(_found(ports, read(PatientName="*a" * 30 + "*"))) == 1


def test_more_patterns_than_a_database_takes_are_refused(ports: Ports, read: Read) -> None:
    with pytest.raises(Malformed, match="PatientName"):
        read(PatientName=[f"N{number}" for number in range(100)])
    assert _found(ports, read(PatientName=[f"N{number}" for number in range(40)])) == set()
    assert _found(ports, read(StudyInstanceUID=[f"1.2.{number}" for number in range(3000)])) == set()


@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_any_bytes_are_keys_or_malformed(data: bytes, is_explicit: bool, is_big_endian: bool) -> None:
    with suppress(Malformed):
        query(read_keys(data, Syntax(is_explicit=is_explicit, is_big_endian=is_big_endian)).keys)


# Matching through the real SQL, against PS3.4 read plainly.

NAMES = (
    "Doe^Jane", "DOE^JANE^Q", "Doe^Jane^^", "doe", "Müller^Jörg", "MÜLLER^JÖRG^^Dr", "100%_x^O!Brien", "[a]^b.c",
    "Yamada^Tarou=山田^太郎=やまだ^たろう", "Вагнер^Рихард",
)  # fmt: skip
STARTS = (
    "2026-07-04T23:30:00", "2026-07-05T08:00:00", "2026-07-05T10:30:00", "2026-07-05T22:15:30", "2026-07-06",
    "2026-07-06T00:00:00", "2026-07-06T09:59:59", "2026-07-07T10:00:00", "2026-07-07T18:00:00", "",
)  # fmt: skip
ACCESSIONS = ("A1", "a1", "A10", "A_1", "A%1", "B*7", "Ä1", "A[1]", "", "A1B")


def _wild(pattern: str, text: str) -> bool:
    """Whether `*` and `?` in `pattern` can stand for what `text` has; written out, not as an expression."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return _wild(pattern[1:], text) or (bool(text) and _wild(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and _wild(pattern[1:], text[1:])


def _name_matches(asked: str, stored: str) -> bool:
    """Whatever the case; empty components at the end and further groups do not count."""
    asked, stored = asked.strip().rstrip("^= ").lower(), stored.lower()
    groups = stored.split("=")
    starts = range(1 if asked.isascii() or "=" in asked else len(groups))
    parts = ["=".join(groups[first:last]) for first in starts for last in range(first + 1, len(groups) + 1)]
    shortened = {part[: len(part) - cut] for part in parts for cut in range(5) if part.endswith("^" * cut)}
    return any(_wild(asked, candidate) for candidate in shortened if candidate)


def _found(ports: Ports, asked: WorklistQuery) -> set[int]:
    with ports.database.read() as tx:
        return {order.id for order in worklist.find(tx, asked, {State.SENT})}


SLOW_FIXTURE = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def _askings(draw: st.DrawFn, stored: tuple[str, ...]) -> str:
    """A stored text, bent: case, wildcards, cut short, padded; or something short of its letters."""
    text = draw(st.sampled_from(stored) | st.text(alphabet="aA1*?%_!^d[]", min_size=1, max_size=4))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        bend = draw(st.sampled_from("?*xlu^"))
        text = {
            "?": text[:at] + "?" + text[at + 1 :],
            "*": text[:at] + "*",
            "x": "*" + text[at:],
            "l": text.lower(),
            "u": text.upper(),
            "^": text + "^",
        }[bend]
    return text.strip()


def test_names_match_as_ps3_4_says(order_factory: Make, ports: Ports, read: Read) -> None:
    stored = {
        order_factory(accession=f"A{number}", patient_id=f"P{number}", name=name).id: name
        for number, name in enumerate(NAMES)
    }

    @SLOW_FIXTURE
    @given(_askings(NAMES))
    def check(text: str) -> None:
        expected = (
            {number for number, name in stored.items() if _name_matches(text, name)}
            if text.strip("*\\ ")
            else set(stored)
        )
        if text.strip("^= "):
            assert _found(ports, read(PatientName=text, SpecificCharacterSet="ISO_IR 192")) == expected

    check()


def test_wildcards_match_as_ps3_4_says(order_factory: Make, ports: Ports, read: Read) -> None:
    stored = {order_factory(accession=accession).id: accession for accession in ACCESSIONS}

    @SLOW_FIXTURE
    @given(_askings(tuple(filter(None, ACCESSIONS))))
    def check(text: str) -> None:
        is_universal = not text.strip("*")
        expected = {
            number
            for number, accession in stored.items()
            if is_universal or (accession and _wild(text, accession))
        }
        assert _found(ports, read(AccessionNumber=text, SpecificCharacterSet="ISO_IR 192")) == expected

    check()


def _ends(text: str, low: str, high: str) -> tuple[str, str]:
    first, dash, last = text.partition("-")
    return first or low, (last if dash else first) or high


def _moment_matches(days: str, times: str, start: str) -> bool:
    """The two keys on one start. Both ranges: one span from the first moment to the last."""
    if not start:
        return (not days and not times) or (not days and bool(times))
    day, _, clock = start.replace("-", "").replace(":", "").partition("T")
    first_day, last_day = _ends(days, "", "99999999")
    if not first_day <= day <= last_day:
        return False
    if not times or not clock:
        return True
    first, last = (re.sub(r"^(\d*).*", r"\1", t) for t in _ends(times, "", ""))
    first = first.ljust(6, "0") if first else "000000"
    last = last + "5959"[len(last) - 2 :] if last else "235959"
    is_span = bool(days) and first_day != last_day and first != last
    if is_span:
        after = not days.partition("-")[0] or (day, clock) >= (first_day, first)
        before = not days.partition("-")[2] or (day, clock) <= (last_day, last)
        return after and before
    return first <= clock <= last if first <= last else clock >= first or clock <= last


DAYS = st.sampled_from(["20260704", "20260705", "20260706", "20260707"])
CLOCKS = st.sampled_from(["08", "1000", "103000", "10", "18", "220000", "06"])


def _maybe_range(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.just(""),
        values,
        values.map(lambda one: f"{one}-"),
        values.map(lambda one: f"-{one}"),
        st.tuples(values, values).map("-".join),
    )


def test_dates_and_times_match_as_ps3_4_says(order_factory: Make, ports: Ports, read: Read) -> None:
    stored = {order_factory(start=start).id: start for start in STARTS}

    @SLOW_FIXTURE
    @given(_maybe_range(DAYS), _maybe_range(CLOCKS))
    def check(days: str, times: str) -> None:
        step = {"ScheduledProcedureStepStartDate": days, "ScheduledProcedureStepStartTime": times}
        expected = {number for number, start in stored.items() if _moment_matches(days, times, start)}
        assert _found(ports, read(step=step)) == expected

    check()


def test_an_order_for_any_machine_is_on_every_list(order_factory: Make, ports: Ports, read: Read) -> None:
    mine = order_factory(station="US1")
    anybody = order_factory(station="")
    order_factory(station="US2")
    asked = read(step={"ScheduledStationAETitle": "US1"})
    assert _found(ports, asked) == {mine.id, anybody.id}


def test_times_are_compared_on_the_sites_clock(order_factory: Make, ports: Ports, read: Read) -> None:
    summer = order_factory(start="2026-07-05T23:30:00+00:00")
    step = {"ScheduledProcedureStepStartDate": "20260706", "ScheduledProcedureStepStartTime": "0030"}
    assert _found(ports, read(step=step)) == {summer.id}
