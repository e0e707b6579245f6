import socket
from collections.abc import Callable
from typing import Any

import pytest

from gateway.hl7.framing import End, frame
from gateway.hl7.sender import Sender, answered_id
from gateway.model.errors import Malformed, Refused, Unavailable

Listen = Callable[..., Any]

MESSAGE = b"MSH|^~\\&|RIS|HOSP|GW|RAD|20261123||ORM^O01|CTL1|P|2.5\rPID|1\r"


def answering(answer: bytes) -> Callable[..., bytes]:
    def receive(_raw: bytes, _peer: str, _end: End = End.WHOLE) -> bytes:
        return answer

    return receive


def ack(code: str, control_id: str = "CTL1", *more: str) -> bytes:
    return "\r".join(("MSH|^~\\&|||||||ACK|9|P|2.5", f"MSA|{code}|{control_id}", *more, "")).encode()


def test_an_accepted_message_gives_its_answer(listen: Listen) -> None:
    with Sender("127.0.0.1", listen(answering(ack("AA"))).port) as sender:
        assert [sender.send(MESSAGE), sender.send(MESSAGE)] == [ack("AA")] * 2


def test_a_refusal_says_why(listen: Listen) -> None:
    answer = ack("AE", "CTL1", "ERR||OBR^1^18|101^Required field missing^HL70357|E||||no accession")
    with Sender("127.0.0.1", listen(answering(answer)).port) as sender:
        assert sender.exchange(MESSAGE) == answer
        with pytest.raises(Refused, match=r"answered AE: OBR-18 Required field missing no accession"):
            sender.send(MESSAGE)


def test_an_answer_to_another_message_is_no_answer(listen: Listen) -> None:
    with (
        Sender("127.0.0.1", listen(answering(ack("AA", "CTL2"))).port) as sender,
        pytest.raises(Unavailable, match="another message"),
    ):
        sender.send(MESSAGE)


@pytest.mark.parametrize("answer", [b"\r", b"hello", b"MSH|^~\\&|||||||ACK|9|P|2.5\r"])
def test_an_answer_that_is_none_is_told(listen: Listen, answer: bytes) -> None:
    with (
        Sender("127.0.0.1", listen(answering(answer)).port) as sender,
        pytest.raises(Unavailable, match="Malformed"),
    ):
        sender.send(MESSAGE)


def test_a_silent_peer_is_given_up_and_a_closed_port_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Sender("127.0.0.1", port, timeout_s=0.05) as sender, pytest.raises(Unavailable, match="Timeout"):
            sender.send(MESSAGE)
    with Sender("127.0.0.1", port, timeout_s=1) as sender, pytest.raises(Unavailable, match="Refused"):
        sender.send(MESSAGE)


def test_a_connection_is_opened_anew_after_a_failure(listen: Listen) -> None:
    answers = [ack("AA", "OTHER"), ack("AA")]

    def receive(_raw: bytes, _peer: str, _end: End = End.WHOLE) -> bytes:
        return answers.pop(0)

    with Sender("127.0.0.1", listen(receive).port) as sender:
        with pytest.raises(Unavailable):
            sender.send(MESSAGE)
        assert sender.send(MESSAGE) == ack("AA")


def test_an_answer_in_pieces_amid_junk_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Sender(*server.getsockname()) as sender:
        connection = sender._connected()
        peer, _ = server.accept()
        wire = b"\r\n??" + frame(ack("AA"))
        peer.sendall(wire)
        assert sender.send(MESSAGE) == ack("AA")
        assert connection.fileno() >= 0
        peer.close()


def test_what_has_no_header_is_not_sent() -> None:
    with Sender("127.0.0.1", 1) as sender, pytest.raises(Malformed, match="MSH"):
        sender.send(b"PID|1\r")
    with pytest.raises(Malformed, match="MSA"):
        answered_id(b"MSH|^~\\&|||||||ACK|9|P|2.5\r")
