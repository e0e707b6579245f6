"""HL7 paths: what they find, and that none of them ever fails on a message."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.groups import header_group, order_groups
from gateway.mapping.paths import BadPath, compile_hl7
from gateway.mapping.scope import Group, text_of
from gateway.model.er7 import read_er7
from gateway.model.errors import Malformed

SITE = {"mrn_authority": "HOSP", "unset": ""}

SEGMENTS = """\
PID|1||7^^^SSA&1.2&ISO^SS~8^^^HOSP^MR~""||DOE&VAN&DOE^JANE\\T\\JO^""||19800214
ORC|NW|P1^RIS
OBR|1|P1
NTE|1||one
NTE|2||two~more
OBX|1|NM|8302-2^Height^LN||170|cm
OBX|2|NM|29463-7^Weight^LN||70|kg"""


@pytest.fixture
def group(group_of: Callable[[str], Group]) -> Group:
    return group_of(SEGMENTS)


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("PID-3", ["7"]),
        ("PID-3.1", ["7"]),
        ("PID.3.1", ["7"]),
        ("PID-3[2].1", ["8"]),
        ("PID-3[9].1", []),
        ("PID-3[*].1", ["7", "8", '""']),
        ("PID-3[4.1=HOSP].1", ["8"]),
        ("PID-3[4.2=1.2].1", ["7"]),
        ("PID-3[4.1=$mrn_authority].1", ["8"]),
        ("PID-3[4.1=$unset].1", []),
        ("PID-3[5=MR].1", ["8"]),
        ("PID-3[5=MR].4.1", ["HOSP"]),
        ("PID-3[1].4.3", ["ISO"]),
        ("PID-5", ["DOE"]),
        ("PID-5.2", ["JANE&JO"]),
        ("PID-5.1.2", ["VAN"]),
        ("PID-5.9", []),
        ("PID-99", []),
        ("NTE-3", ["one"]),
        ("NTE[2]-3", ["two"]),
        ("NTE[*]-3", ["one", "two"]),
        ("NTE[*]-3[*]", ["one", "two", "more"]),
        ("OBX[3.1=29463-7]-5", ["70"]),
        ("OBX[5=170]-6", ["cm"]),
        ("OBX[3.1=1-1]-5", []),
        ("MSH-1", ["|"]),
        ("MSH-2", ["^~\\&"]),
        ("MSH-9.2", ["O01"]),
        ("ZDS", []),
        ("ORC", ["ORC"]),
    ],
)
def test_a_path_finds_what_stands_there(group: Group, path: str, texts: list[str]) -> None:
    found = compile_hl7(path, SITE).read(group)
    assert [text_of(hit.datum) for hit in found] == texts


def test_a_place_is_as_precise_as_the_path(group: Group) -> None:
    (found,) = compile_hl7("PID-3[5=MR].4.1", SITE).read(group)
    place = found.place
    assert (place.line, place.segment, place.segment_repetition) == (2, "PID", 1)
    assert (place.field, place.repetition, place.component, place.subcomponent) == (3, 2, 4, 1)
    assert str(place) == "line 2 PID-3[5=MR].4.1"
    second = compile_hl7("OBX[3.1=29463-7]-5", SITE).read(group)[0].place
    assert (second.line, second.segment_repetition) == (8, 2)


def test_the_place_of_what_is_absent_is_where_one_would_look(group: Group) -> None:
    absent = compile_hl7("OBR-18", SITE).place(group)
    assert (absent.line, absent.segment, absent.field) == (4, "OBR", 18)
    assert compile_hl7("ZDS-1", SITE).place(group).line == 0


def test_two_quotation_marks_ask_to_delete(group: Group) -> None:
    assert compile_hl7("PID-3[3]", SITE).read(group)[0].is_null
    assert compile_hl7("PID-5.3", SITE).read(group)[0].is_null
    assert not compile_hl7("PID-5", SITE).read(group)[0].is_null


@pytest.mark.parametrize(
    "text",
    ["", "PID3", "pid-3", "PID-0", "PID-3[0]", "PID-3[x]", "PID-3[].1", "PID-3[5=].1", "PID-3.1.1.1", "PID-3[1",
     "PID-3[1.1.1=x]", "PID-3[4.1=$nowhere]", "P-3", "PID-3.0", "PID-", "PID-3[²]"],
)  # fmt: skip
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(BadPath):
        compile_hl7(text, SITE)


NUMBERS = st.integers(1, 45).map(str)
VALUES = st.text(alphabet="ABMR7^&~\\.", min_size=1, max_size=5)
PICKS = st.one_of(
    st.just(""),
    st.just("[*]"),
    NUMBERS.map("[{}]".format),
    st.tuples(NUMBERS, VALUES).map(lambda pair: f"[{pair[0]}={pair[1]}]"),
)
PATHS = st.builds(
    lambda name, which, field, repetition, rest: f"{name}{which}-{field}{repetition}{rest}",
    st.sampled_from(["MSH", "PID", "PV1", "ORC", "OBR", "TQ1", "IPC", "NTE", "OBX", "ZDS"]),
    PICKS,
    NUMBERS,
    PICKS,
    st.sampled_from(["", ".1", ".4.1", ".9.9"]),
)
MESSAGES = st.lists(
    st.one_of(
        st.sampled_from(["PID", "ORC", "OBR", "IPC", "ZDS", "NTE"]),
        st.text(alphabet='PIDORCBSZ7A|^~&\\"\n', max_size=30),
        st.builds(
            "{}|{}".format,
            st.sampled_from(["PID", "ORC", "OBR", "IPC", "ZDS", "NTE", "OBX"]),
            st.text(max_size=40),
        ),
    ),
    max_size=8,
).map(lambda lines: "\r".join(["MSH|^~\\&|A|B|C|D|2026||ORM^O01|1|P|2.3", *lines]))


@given(PATHS, MESSAGES)
def test_any_path_on_any_message_gives_values_or_nothing(text: str, er7: str) -> None:
    path = compile_hl7(text, SITE)
    try:
        message = read_er7(er7)
    except Malformed:
        return
    for group in (header_group(message), *order_groups(message)):
        for found in path.read(group):
            assert found.raw
            assert isinstance(text_of(found.datum), str)
            assert found.place.segment == path.segment
        assert path.place(group).field == path.field
