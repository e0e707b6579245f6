import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hl7.framing import End, Frame, Framer, Noted, Oddity, frame

CASES = Path(__file__).parents[2] / "fixtures" / "hl7-frames"
WIRES = sorted(CASES.glob("*.mllp"))
PAYLOADS = st.lists(st.binary(max_size=60).filter(lambda raw: not {0x0B, 0x1C} & set(raw)), max_size=6)


def _fed(chunks: Iterable[bytes], max_bytes: int = 10_000) -> tuple[list[Frame], dict[Oddity, int]]:
    """The frames and the sums of oddities that come out."""
    framer = Framer(max_bytes)
    parts = [part for chunk in chunks for part in framer.feed(chunk)]
    rest = framer.finish()
    frames = [part for part in parts if isinstance(part, Frame)]
    noted = [part for part in [*parts, rest] if isinstance(part, Noted)]
    return frames, {oddity: sum(n.count for n in noted if n.oddity is oddity) for oddity in Oddity}


def _expected(wire: Path) -> tuple[list[Frame], dict[Oddity, int]]:
    told = json.loads(wire.with_suffix(".json").read_text())
    frames = [Frame(payload=f["payload"].encode("latin-1"), end=End(f["end"])) for f in told["frames"]]
    return frames, {Oddity.JUNK: told["junk"], Oddity.MISSING_CR: told["missing_cr"]}


def _cut(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.stem)
def test_each_case_gives_its_frames_however_it_is_cut(wire: Path, size: int) -> None:
    assert _fed(_cut(wire.read_bytes(), size)) == _expected(wire)


@pytest.mark.parametrize("wire", [w for w in WIRES if w.stem != "unfinished"], ids=lambda wire: wire.stem)
def test_trailing_bytes_change_nothing_before_them(wire: Path) -> None:
    frames, _ = _expected(wire)
    assert _fed([wire.read_bytes() + frame(b"MSH|next") + b"\0\r\n"])[0] == [
        *frames,
        Frame(payload=b"MSH|next"),
    ]


def test_a_cut_between_fs_and_cr_is_no_missing_cr() -> None:
    assert _fed([b"\x0bMSH|\x1c", b"\r"]) == (
        [Frame(payload=b"MSH|")],
        {Oddity.JUNK: 0, Oddity.MISSING_CR: 0},
    )


def test_a_frame_is_complete_before_its_cr_comes() -> None:
    assert list(Framer().feed(b"\x0bMSH|\x1c")) == [Frame(payload=b"MSH|")]


def test_a_frame_past_the_limit_is_told_once_and_ends_the_reading() -> None:
    wire = b"\x0b" + b"MSH|^~\\&|" + b"x" * 200 + b"\x1c\r" + frame(b"MSH|later")
    for size in (1, 13, 1000):
        frames, _ = _fed(_cut(wire, size), max_bytes=100)
        assert [(f.end, f.payload) for f in frames] == [(End.OVERSIZED, wire[1:101])]


def test_a_frame_of_just_the_limit_passes() -> None:
    assert _fed([frame(b"x" * 100)], max_bytes=100)[0] == [Frame(payload=b"x" * 100)]


def test_an_unfinished_frame_is_known_with_its_size() -> None:
    framer = Framer()
    assert list(framer.feed(b"junk\x0bMSH|")) == [Noted(oddity=Oddity.JUNK, count=4)]
    assert (framer.is_inside, framer.pending_bytes) == (True, 4)


def test_a_large_message_in_small_pieces_is_put_together() -> None:
    payload = bytes(range(32, 127)) * 1100
    assert _fed(_cut(frame(payload), 100), max_bytes=200_000)[0] == [Frame(payload=payload)]


def test_padding_between_two_vts_is_no_lost_message() -> None:
    assert _fed([b"\x0b\r\n\0 " + frame(b"MSH|")])[0] == [Frame(payload=b"MSH|")]


def test_junk_since_the_last_frame_is_known() -> None:
    framer = Framer()
    assert list(framer.feed(frame(b"MSH|") + b"\r\nMSH|without VT")) == [Frame(payload=b"MSH|")]
    assert framer.unframed_bytes == 13


@given(payloads=PAYLOADS, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_framed_payloads_come_out_the_same_however_they_are_cut(
    payloads: list[bytes], sizes: list[int]
) -> None:
    wire = b"".join(frame(payload) for payload in payloads)
    chunks, at, turn = [], 0, 0
    while at < len(wire):
        chunks.append(wire[at : at + sizes[turn % len(sizes)]])
        at, turn = at + len(chunks[-1]), turn + 1
    frames, oddities = _fed(chunks)
    assert frames == [Frame(payload=payload) for payload in payloads]
    assert set(oddities.values()) == {0}


@given(
    wire=st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\0", b"MSH|", b"x"]) | st.binary(max_size=5)),
    size=st.integers(1, 9),
)
def test_any_bytes_are_read_alike_whole_and_in_pieces(wire: list[bytes], size: int) -> None:
    raw = b"".join(wire)
    assert _fed(_cut(raw, size), max_bytes=30) == _fed([raw], max_bytes=30)
