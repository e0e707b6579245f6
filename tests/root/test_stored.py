"""Kept messages read again, and their edited text written in their own character set."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.mapping.registry import Modules
from gateway.model.errors import Invalid
from gateway.model.ids import MessageId
from gateway.model.message import Keys, Message, MessageState, Protocol
from gateway.stored import encode_text, interpret_stored, text_of

HEAD = "MSH|^~\\&|RIS|GH|GW|RAD|20261123093000||ORM^O01|C1|P|2.5.1"


def _message(raw: bytes, protocol: Protocol = Protocol.HL7V2, reason: str = "") -> Message:
    return Message(
        id=MessageId(1),
        protocol=protocol,
        source="ris",
        peer="",
        received_at=datetime(2026, 11, 23, tzinfo=UTC),
        raw=raw,
        keys=Keys(),
        state=MessageState.FAILED,
        reason=reason,
        answer=b"",
        module="",
        accession="",
        patient_id="",
        placer="",
        filler="",
    )


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [
        ("", "cp1252", "Müller"),
        ("8859/1", "cp1252", "Šmíd"),
        ("8859/5", "iso8859-5", "Иванова"),
        ("GB 18030-2000", "gb18030", "王"),
        ("ASCII~ISO IR87", "iso2022_jp", "山田"),
        ("UNICODE UTF-8", "utf-8", "Παπά"),
    ],
)
def test_a_text_that_is_edited_keeps_the_character_set(declared: str, codec: str, name: str) -> None:
    raw = f"{HEAD}||||||{declared}\rPID|1||7||{name}\r".encode(codec)
    message = _message(raw)
    text = text_of(message)
    assert text == f"{HEAD}||||||{declared}\nPID|1||7||{name}\n"
    assert encode_text(message, text.replace("\n", "\r\n")) == raw
    assert encode_text(message, text.replace("|7|", "|8|")) == raw.replace(b"|7|", b"|8|")


def test_characters_that_the_set_cannot_hold_are_refused_and_another_set_takes_them() -> None:
    message = _message(f"{HEAD}||||||8859/1\rPID|1||7||Doe\r".encode())
    with pytest.raises(Invalid, match="MSH-18"):
        encode_text(message, text_of(message).replace("Doe", "山田"))
    mended = text_of(message).replace("Doe", "山田").replace("8859/1", "UNICODE UTF-8")
    assert "山田".encode() in encode_text(message, mended)


def test_fhir_is_edited_as_utf_8() -> None:
    message = _message('{"a": "ü"}'.encode(), Protocol.FHIR)
    assert encode_text(message, text_of(message)) == message.raw


def test_a_message_that_was_cut_short_is_not_mapped_by_trying_again(modules: Modules) -> None:
    message = _message(f"{HEAD}\rPID|1||7||Doe\r".encode())
    cut = replace(
        message, reason="a test (was failed: the message was cut short: the next one began before it ended)"
    )
    assert "cut short" in interpret_stored(cut, modules).failure
    assert "cut short" not in interpret_stored(message, modules).failure
