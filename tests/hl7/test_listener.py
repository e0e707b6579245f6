import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.hl7.framing import End, frame

Listen = Callable[..., Any]
Call = Callable[[int], Any]


class Echo:
    """Answers each message with its own bytes, and remembers them."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, End]] = []

    def __call__(self, raw: bytes, peer: str, end: End = End.WHOLE) -> bytes:
        self.seen.append((raw, end))
        assert peer == "127.0.0.1"
        return b"ACK " + raw


class Slow(Echo):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, raw: bytes, peer: str, end: End = End.WHOLE) -> bytes:
        self.begun.set()
        assert self.go.wait(20)
        return super().__call__(raw, peer, end)


def test_several_messages_on_a_connection_are_answered(listen: Listen, call: Call) -> None:
    peer = call(listen(Echo()).port)
    for name in (b"1", b"2", b"3"):
        peer.write(frame(name))
        assert peer.answer() == b"ACK " + name


def test_several_frames_in_a_write_are_answered_in_order(listen: Listen, call: Call) -> None:
    peer = call(listen(Echo()).port)
    names = [b"%d" % n for n in range(50)]
    peer.write(b"".join(frame(name) for name in names))
    assert [peer.answer() for _ in names] == [b"ACK " + name for name in names]


def test_a_frame_in_many_writes_is_put_together(listen: Listen, call: Call) -> None:
    peer = call(listen(Echo()).port)
    for byte in frame(b"MSH|message"):
        peer.write(bytes([byte]))
    assert peer.answer() == b"ACK MSH|message"


def test_a_message_without_cr_is_answered_while_the_sender_waits(listen: Listen, call: Call) -> None:
    peer = call(listen(Echo()).port)
    peer.write(b"\x0bMSH|1\x1c")
    assert peer.answer() == b"ACK MSH|1"
    peer.write(b"\x0bMSH|2\x1c")
    assert peer.answer() == b"ACK MSH|2"


def test_junk_is_counted_and_never_told(listen: Listen, call: Call, caplog: pytest.LogCaptureFixture) -> None:
    peer = call(listen(Echo()).port)
    peer.write(b"SECRET \r\n" + frame(b"1"))
    assert peer.answer() == b"ACK 1"
    peer.write(b"SECRET AGAIN")
    peer.hang_up()
    counts = [record.__dict__["count"] for record in caplog.records if record.msg == "hl7.oddity"]
    assert counts == [6, 11]
    assert "SECRET" not in caplog.text


def test_a_truncated_frame_is_told_as_such_and_the_next_one_is_taken(listen: Listen, call: Call) -> None:
    echo = Echo()
    peer = call(listen(echo).port)
    peer.write(b"\x0bhalf" + frame(b"whole"))
    assert [peer.answer(), peer.answer()] == [b"ACK half", b"ACK whole"]
    assert echo.seen == [(b"half", End.TRUNCATED), (b"whole", End.WHOLE)]


def test_too_long_a_frame_is_answered_and_the_connection_closed(listen: Listen, call: Call) -> None:
    echo = Echo()
    peer = call(listen(echo, max_bytes=1000).port)
    peer.write(b"\x0b" + b"x" * 200_000)
    assert peer.answer() == b"ACK " + echo.seen[0][0]
    assert peer.answer() == b""
    assert [end for _, end in echo.seen] == [End.OVERSIZED]


def test_a_frame_that_stops_in_the_middle_gets_no_answer(
    listen: Listen, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    echo = Echo()
    running = listen(echo, frame_timeout_s=0.05)
    peer = call(running.port)
    peer.write(b"\x0bhalf")
    assert peer.answer() == b""
    assert echo.seen == []
    running.close()
    assert {"hl7.timeout", "hl7.unfinished_frame"} <= {record.msg for record in caplog.records}


def test_between_frames_a_connection_may_rest(listen: Listen, call: Call) -> None:
    peer = call(listen(Echo(), frame_timeout_s=0.05).port)
    peer.write(frame(b"1"))
    assert peer.answer() == b"ACK 1"
    threading.Event().wait(0.2)
    peer.write(frame(b"2"))
    assert peer.answer() == b"ACK 2"


def test_more_connections_than_allowed_are_turned_away(listen: Listen, call: Call) -> None:
    port = listen(Echo(), max_connections=2).port
    first, second = call(port), call(port)
    for peer in (first, second):
        peer.write(frame(b"1"))
        assert peer.answer() == b"ACK 1"
    assert call(port).answer() == b""
    first.write(frame(b"2"))
    assert first.answer() == b"ACK 2"


def test_a_slow_message_holds_up_its_own_connection_only(listen: Listen, call: Call) -> None:
    slow = Slow()

    def receive(raw: bytes, peer: str, end: End = End.WHOLE) -> bytes:
        return slow(raw, peer, end) if raw == b"slow" else b"quick"

    port = listen(receive).port
    first, second = call(port), call(port)
    first.write(frame(b"slow") + frame(b"after"))
    assert slow.begun.wait(20)
    second.write(frame(b"1"))
    assert second.answer() == b"quick"
    slow.go.set()
    assert [first.answer(), first.answer()] == [b"ACK slow", b"quick"]


def test_messages_of_a_peer_that_leaves_early_count_all_the_same(listen: Listen, call: Call) -> None:
    echo = Echo()
    port = listen(echo).port
    for _ in range(5):
        peer = call(port)
        peer.write(frame(b"1") + frame(b"2"))
        peer.close()
    deadline = time.monotonic() + 20
    while len(echo.seen) < 10 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert sorted(raw for raw, _ in echo.seen) == [b"1"] * 5 + [b"2"] * 5


def test_closing_answers_the_message_in_hand(listen: Listen, call: Call) -> None:
    slow = Slow()
    running = listen(slow)
    peer, idle = call(running.port), call(running.port)
    peer.write(frame(b"1") + frame(b"2"))
    assert slow.begun.wait(20)
    closing = threading.Thread(target=running.close)
    closing.start()
    assert idle.answer() == b""
    slow.go.set()
    assert [peer.answer(), peer.answer()] == [b"ACK 1", b""]
    closing.join(20)
    assert [raw for raw, _ in slow.seen] == [b"1"]
    with pytest.raises(ConnectionRefusedError):
        call(running.port)


def test_an_error_of_ours_ends_its_connection_and_no_other(
    listen: Listen, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    def receive(raw: bytes, _peer: str, _end: End = End.WHOLE) -> bytes:
        return b"ACK " + bytes([raw.index(b"!")])

    port = listen(receive).port
    broken = call(port)
    broken.write(frame(b"?"))
    assert broken.answer() == b""
    sound = call(port)
    sound.write(frame(b"!"))
    assert sound.answer() == b"ACK \x00"
    assert "hl7.connection_failed" in caplog.text
