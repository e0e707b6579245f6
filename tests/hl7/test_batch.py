import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hl7 import batch
from gateway.hl7.batch import Part, split

ONE = b"MSH|^~\\&|RIS|HOSP|GW|RAD|20261123||ORM^O01|1|P|2.5.1\rPID|1||A\r"
TWO = ONE.replace(b"|1|P|", b"|2|P|")
ENVELOPE = b"FHS|^~\\&|RIS\r", b"BHS|^~\\&|RIS\r"


def raws(frame: bytes) -> list[bytes]:
    return [part.raw for part in split(frame)]


@pytest.mark.parametrize(
    "raw",
    [
        ONE,
        b"",
        b"\xef\xbb\xbf" + ONE,
        b"\r\n" + ONE,
        b"PID|1\r" + ONE + TWO,
        b"FHS|^~\\&|RIS\rFTS|0\r",
        b"MSH|^~\\&|RIS\rBTS|5\r",
        ONE + b"NTE|1||MSH without a separator\rMSHABC\rMSH#other#text\r",
    ],
)
def test_a_frame_that_is_no_batch_stays_as_it_is(raw: bytes) -> None:
    assert split(raw) == (Part(raw=raw),)


def test_several_messages_in_a_frame_are_taken_apart() -> None:
    assert raws(ONE + TWO + ONE) == [ONE, TWO, ONE]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_an_envelope_belongs_to_no_message(end: bytes) -> None:
    frame = b"".join((*ENVELOPE, ONE, TWO, b"BTS|2\r", b"FTS|1\r")).replace(b"\r", end)
    assert split(frame) == tuple(Part(raw=raw.replace(b"\r", end)) for raw in (ONE, TWO))


def test_a_batch_of_one_loses_its_envelope() -> None:
    assert raws(b"".join((*ENVELOPE, ONE, b"BTS|1\r", b"FTS|1\r"))) == [ONE]


def test_a_bom_and_blanks_before_the_envelope_do_no_harm() -> None:
    assert raws(b"\xef\xbb\xbf\r\n " + b"".join((*ENVELOPE, ONE, TWO))) == [ONE, TWO]


def test_counts_that_do_not_fit_are_remarked_on_the_messages_they_are_about() -> None:
    file, begin = ENVELOPE
    frame = file + begin + ONE + b"BTS|2\r" + begin + TWO + b"BTS|1\r" + b"FTS|3\r"
    first, second = split(frame)
    of_file = "FTS-1 (batches in the file): says 3, there are 2"
    assert first.remarks == ("BTS-1 (messages in the batch): says 2, there are 1", of_file)
    assert second.remarks == (of_file,)


@pytest.mark.parametrize(
    "trailer", [b"BTS\r", b"BTS|\r", b"BTS||comment\r", b"BTS|many\r", b"BTS|2|ok", b"BTS| 2 "]
)
def test_a_count_that_fits_or_is_none_is_not_remarked(trailer: bytes) -> None:
    assert [part.remarks for part in split(ENVELOPE[1] + ONE + TWO + trailer)] == [(), ()]


def test_too_many_messages_are_refused_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_MESSAGES", 3)
    (part,) = split(ONE * 4)
    assert part == Part(raw=ONE * 4, refusal="the batch holds more than 3 messages")
    assert len(split(ONE * 3)) == 3


@given(
    st.lists(
        st.sampled_from(
            [b"MSH|", b"MSH#", b"BHS|", b"FHS|", b"BTS|1", b"FTS|1", b"\r", b"\n", b"\0", b" ", b"x"]
        )
    )
)
def test_no_byte_of_a_message_is_lost_or_doubled(pieces: list[bytes]) -> None:
    frame = b"".join(pieces)
    parts = split(frame)
    at = 0
    for part in parts:
        found = frame.find(part.raw, at)
        assert found >= at
        at = found + len(part.raw)
    assert parts[0].raw == frame or all(part.raw.startswith(b"MSH") for part in parts)
