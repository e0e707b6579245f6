"""Whatever comes over the wire: no exception, a defined end for each frame, no byte unaccounted for.

`make fuzz` gives FUZZ_INPUTS inputs; without it a few run, with the other tests.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.hl7.ack import AckCode
from gateway.hl7.answering import Manner, answers_in, render_answers, render_our_fault
from gateway.hl7.batch import split
from gateway.hl7.framing import End, Frame, Framer, Noted, Oddity, frame
from gateway.hl7.inbound import interpret
from gateway.hl7.reading import Expected, read
from gateway.mapping.registry import Modules
from gateway.model.er7 import read_er7
from gateway.model.errors import Malformed
from gateway.model.ids import MessageId
from gateway.model.message import MessageState, Receipt

FIXTURES = Path(__file__).parents[2] / "fixtures"
INPUTS = int(os.environ.get("FUZZ_INPUTS", "1200"))
SEED = int(os.environ.get("FUZZ_SEED", "20261123"))
MAX_BYTES = 3000
STATES = tuple(MessageState)
CODES = {code.value for code in AckCode}
MANNERS = tuple(
    Manner(new_control_id="GW1", at=datetime(2026, 11, 23, tzinfo=UTC), is_hold_an_error=is_error)
    for is_error in (False, True)
)
EXPECTED = (Expected(), Expected(fallback_charset="ascii", versions=frozenset({"2.5.1"})))
PIECES = (
    b"\x0b", b"\x1c", b"\x1c\r", b"\r", b"\n", b"\0", b"|", b"^", b"~", b"\\", b"&", b'""', b"MSH|^~\\&|", b"MSH",
    b"FHS|^~\\&|", b"BHS|^~\\&|", b"BTS|2\r", b"FTS|1\r", b"PID|", b"\rORC|CA|", b"\\X0D\\", b"\\.sp99\\",
    b"\x1b$B", b"\x1b(B", b"\xff\xfe", b"\xef\xbb\xbf", b"\x81|", b"\xc3", b"||||||UNICODE UTF-8\r", b"||AL|NE",
)  # fmt: skip

profile = settings(
    max_examples=max(INPUTS // 4, 100),
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@dataclass(slots=True)
class Accounts:
    """Where each byte of a connection belongs, found out one byte after the other: what the framer must agree with."""

    bodies: list[tuple[bytes, End]]
    frame_bytes: int = 0
    junk: int = 0
    padding: int = 0
    missing_cr: int = 0
    open_bytes: int = 0  # of a frame that did not end
    unread: int = 0  # after a frame past the limit


def accounts_of(wire: bytes) -> Accounts:
    found = Accounts(bodies=[])
    body: bytearray | None = None
    is_after_fs = False
    for at, byte in enumerate(wire):
        if is_after_fs:
            is_after_fs = False
            if byte == 0x0D:
                found.frame_bytes += 1
                continue
            found.missing_cr += 1
        if byte == 0x0B:
            found.frame_bytes += 1
            if body is not None and bytes(body).strip(b"\0\t\n\r "):
                found.bodies.append((bytes(body), End.TRUNCATED))
            elif body is not None:
                found.padding += len(body)
            body = bytearray()
        elif body is None:
            found.padding += byte in b"\0\t\n\r "
            found.junk += byte not in b"\0\t\n\r "
        elif byte == 0x1C:
            found.frame_bytes += 1
            found.bodies.append((bytes(body), End.WHOLE))
            body, is_after_fs = None, True
        else:
            body.append(byte)
            if len(body) > MAX_BYTES:
                found.bodies.append((bytes(body[:-1]), End.OVERSIZED))
                found.unread = len(wire) - at
                return found
    found.open_bytes = len(body or b"")
    return found


def check_framer(wire: bytes, sizes: list[int]) -> None:
    """The framer agrees with the accounts however the wire is cut, and they balance."""
    framer = Framer(MAX_BYTES)
    parts: list[Frame | Noted] = []
    at = turn = 0
    while at < len(wire):
        size = sizes[turn % len(sizes)]
        parts += framer.feed(wire[at : at + size])
        at, turn = at + size, turn + 1
    open_bytes, rest = framer.pending_bytes, framer.finish()
    noted = [part for part in (*parts, rest) if isinstance(part, Noted)]
    told = {oddity: sum(one.count for one in noted if one.oddity is oddity) for oddity in Oddity}
    found = accounts_of(wire)
    assert [(part.payload, part.end) for part in parts if isinstance(part, Frame)] == found.bodies
    assert told == {Oddity.JUNK: found.junk, Oddity.MISSING_CR: found.missing_cr}
    assert open_bytes == found.open_bytes
    kept = sum(len(body) for body, _ in found.bodies)
    assert len(wire) == (
        kept + found.frame_bytes + found.junk + found.padding + found.open_bytes + found.unread
    )


def check_frame(raw: bytes, modules: Modules, end: End = End.WHOLE) -> None:
    """Each message of a frame is read, mapped and answered, whatever became of it."""
    parts = split(raw)
    assert sum(len(part.raw) for part in parts) <= len(raw)
    for number, part in enumerate(parts):
        reading = read(part.raw, end, EXPECTED[number % 2])
        interpretation = interpret(reading, modules)
        assert interpretation.failure or interpretation.mapped is not None
        states = (MessageState.FAILED,) if interpretation.failure else STATES
        for state in states:
            receipt = Receipt(
                message_id=MessageId(1), state=state, interpretation=interpretation, reason="because"
            )
            for manner in MANNERS:
                check_answer(render_answers(reading, receipt, manner), reading.codec)
        check_answer(render_our_fault(reading, MANNERS[0]), reading.codec)


def check_answer(raw: bytes, codec: str) -> None:
    """Each acknowledgement can be read, in the message's own character set, and says one of the codes."""
    assert not {0x0B, 0x1C} & set(raw)
    for one in answers_in(raw):
        answer = read_er7(one.decode(codec))
        assert next(answer.named("MSA")).value(1) in CODES


def corpus() -> list[bytes]:
    """Every message of the fixtures, the broken ones first."""
    folders = ("hl7-broken", "hl7", "hl7-frames")
    return [path.read_bytes() for f in folders for path in sorted((FIXTURES / f).rglob("*.[hm][ll][7l]*"))]


def mutations(count: int) -> Iterator[tuple[bytes, random.Random]]:
    """Messages of the corpus with bytes changed, cut out, doubled, put in, and spliced with each other."""
    chance = random.Random(SEED)
    messages = corpus()
    for number in range(count):
        raw = bytearray(messages[number % len(messages)])
        for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
            at = chance.randrange(len(raw) + 1)
            match chance.randrange(6):
                case 0:
                    raw[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    del raw[at : at + chance.choice((1, 3, 40))]
                case 2:
                    raw[at:at] = chance.choice(PIECES)
                case 3:
                    raw[at:at] = raw[at : at + chance.choice((1, 10, 60))]
                case 4:
                    other = chance.choice(messages)
                    raw[at:] = other[chance.randrange(len(other) + 1) :]
                case _:
                    raw[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
        yield bytes(raw[: 4 * MAX_BYTES]), chance


@pytest.fixture(scope="module")
def loaded() -> Modules:
    found = Modules.load(FIXTURES.parent / "mappings", site={"timezone": "Europe/London"})
    assert found.faults == ()
    return found


def test_the_corpus_is_there() -> None:
    assert len(corpus()) > 70


def test_mutated_messages_are_read_mapped_and_answered(loaded: Modules) -> None:
    for number, (raw, chance) in enumerate(mutations(INPUTS)):
        try:
            check_frame(raw, loaded, chance.choice((End.WHOLE, End.WHOLE, End.TRUNCATED, End.OVERSIZED)))
            wire = chance.choice((raw, frame(raw), frame(raw) + raw, b"\x0b" + raw))
            check_framer(wire, [chance.choice((1, 7, 100, 10_000)), chance.randrange(1, 50)])
        except BaseException:
            print(f"input {number} of seed {SEED}: {raw!r}")
            raise


@profile
@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=12), max_size=40), cut=st.integers(1, 30))
def test_any_wire_is_framed_as_the_accounts_say(pieces: list[bytes], cut: int) -> None:
    wire = b"".join(pieces)
    check_framer(wire, [cut])
    check_framer(wire, [len(wire) + 1])


@profile
@given(text=st.text(max_size=80), begin=st.sampled_from(["", "MSH", "MSH|^~\\&|A|B", "MSH|^~\\&|\r"]))
def test_any_text_is_a_message_or_malformed(text: str, begin: str) -> None:
    try:
        message = read_er7(begin + text)
    except Malformed:
        return
    for segment in message.segments:
        for number in range(len(segment.fields) + 1):
            for repetition in segment.repetitions(number):
                for component in segment.components(repetition):
                    segment.unescape(component)
            segment.value(number, 2, 2, repetition=2)


def test_any_pieces_are_read_mapped_and_answered(loaded: Modules) -> None:
    @profile
    @given(
        pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=25),
        end=st.sampled_from(End),
    )
    def check(pieces: list[bytes], end: End) -> None:
        check_frame(b"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|C1|P|2.5.1\r" + b"".join(pieces), loaded, end)
        check_frame(b"".join(pieces), loaded, end)

    check()
