"""The reader of ER7: any text gives a message or Malformed, and what is escaped reads back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.er7 import Delimiters, Message, escape, read_er7, unescape
from gateway.model.errors import Malformed

HEAD = "MSH|^~\\&|RIS|HOSP|GW|RAD|20261114093015||ORM^O01|1|P|2.3.1"


def latin(raw: bytes) -> str:
    return raw.decode("latin-1")


def test_segments_may_end_in_cr_lf_or_both() -> None:
    for end in ("\r", "\n", "\r\n"):
        message = read_er7(end.join([HEAD, "PID|1||7", "ORC|NW", ""]))
        assert [(s.name, s.line) for s in message.segments] == [("MSH", 1), ("PID", 2), ("ORC", 3)]
        assert message.warnings == ()


def test_msh_counts_its_separator_as_the_first_field() -> None:
    header = read_er7(HEAD).header
    assert header.value(1) == "|"
    assert header.value(2) == "^~\\&"
    assert header.value(9) == "ORM"
    assert header.value(9, 2) == "O01"


def test_the_message_brings_its_own_delimiters() -> None:
    message = read_er7("MSH$*~\\&$RIS\rPID$1$$A*B&C~D\\T\\E")
    segment = message.segments[1]
    assert segment.value(3, 2) == "B"
    assert segment.value(3, 2, 2) == "C"
    assert segment.value(3, repetition=2) == "D&E"


def test_what_is_not_there_is_empty() -> None:
    segment = read_er7(f"{HEAD}\rPID|1").segments[1]
    assert (
        segment.value(3)
        == segment.value(1, 5)
        == segment.value(1, 1, 9)
        == segment.value(1, repetition=4)
        == ""
    )
    assert segment.repetitions(99) == ()


def test_a_broken_line_belongs_to_the_segment_before_it() -> None:
    message = read_er7(f"{HEAD}\rNTE|1||first\nsecond line\rPID|1")
    assert message.segments[1].value(3) == "first\nsecond line"
    assert message.warnings == ("line 3 is no segment and was read as the rest of line 2",)


@pytest.mark.parametrize(
    "line",
    [
        "MRI incompatible, allergic to",
        "MRI, CT",
        "CT1-CT2",
        "KM and latex",
        "MRI | CT",
        "NTE^2",
        "PID1|2",
        " PV1|1",
    ],
)
def test_a_broken_line_that_begins_with_capitals_is_text(line: str) -> None:
    message = read_er7(f"{HEAD}\rNTE|1||pacemaker,\r{line}\rand latex\rPV1|1")
    assert [segment.name for segment in message.segments] == ["MSH", "NTE", "PV1"]
    assert "|".join(message.segments[1].fields[3:]) == f"pacemaker,\n{line}\nand latex"
    assert len(message.warnings) == 2


def test_a_segment_has_the_messages_own_separator_behind_its_name_or_nothing() -> None:
    message = read_er7("MSH$*~\\&$RIS\rNTE$1$$note\rMRI|CT\rRGS \rAIS$1")
    assert [segment.name for segment in message.segments] == ["MSH", "NTE", "RGS", "AIS"]
    assert message.segments[1].value(3) == "note\nMRI|CT"
    assert message.warnings == (
        "line 3 is no segment and was read as the rest of line 2",
        "line 4 is the name of a segment and nothing else",
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PID|1",
        "MSH",
        "MSH|",
        "MSHA^~\\&A",
        "MSH|^^~|",
        "MSH|^|&|x",
        "\0\0",
        "MSH |^~\\&",
        "MSH|^~\\A|",
        "MSH|\0^|",
        "MSH|^ ~|",
    ],
)
def test_what_is_no_message_is_malformed(text: str) -> None:
    if text == "MSH|^|&|x":  # two delimiters suffice
        assert read_er7(text).delimiters.component == "^"
        return
    with pytest.raises(Malformed):
        read_er7(text)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"one\.br\two", "one\ntwo"),
        (r"\H\bold\N\ text", "bold text"),
        (r"\X41\\X0D0A\x", "A\r\nx"),
        (r"C:\Data\x", r"C:\Data\x"),
        ("lone \\ backslash", "lone \\ backslash"),
        (r"\Zabc\kept", r"\Zabc\kept"),
        (r"\.in4\x\.sp 2\y", " x\n\ny"),
        (r"T\E\T\E\T", r"T\T\T"),
    ],
)
def test_escape_sequences_mean_what_the_standard_says(written: str, meant: str) -> None:
    assert unescape(written, Delimiters(), latin) == meant


LINES = st.text().map(lambda text: text.replace("\r\n", "\n").replace("\r", "\n"))


@given(LINES)
def test_what_is_escaped_reads_back_as_it_was(text: str) -> None:
    assert unescape(escape(text), Delimiters(), latin) == text


@given(st.text(alphabet="\\FSTREHNXZ.brsp0139|^~& \n", max_size=40))
def test_text_full_of_escapes_reads_back_as_it_was(text: str) -> None:
    assert unescape(escape(text), Delimiters(), latin) == text
    assert isinstance(unescape(text, Delimiters(), latin), str)


@given(LINES.filter(lambda text: "\0" not in text))
def test_an_escaped_text_in_a_field_comes_back_whole(text: str) -> None:
    segment = read_er7(f"{HEAD}\rNTE|1||{escape(text)}|after").segments[1]
    assert segment.value(3) == text
    assert segment.value(4) == "after"


@given(st.one_of(st.text(), st.text(alphabet="MSHPIDORC|^~\\&\r\n\0 12", max_size=80)))
def test_any_text_is_a_message_or_malformed(text: str) -> None:
    for candidate in (text, f"MSH{text}", f"MSH|^~\\&|{text}"):
        try:
            message = read_er7(candidate)
        except Malformed:
            continue
        assert isinstance(message, Message)
        assert message.header.name == "MSH"
        for segment in message.segments:
            assert all(isinstance(segment.value(n), str) for n in range(len(segment.fields) + 2))
