"""Messages read again, from the store or from a file, as their edge read them when they came."""

import re
from collections.abc import Iterator
from pathlib import Path

from gateway.fhir.arrival import read_arrival
from gateway.fhir.asked import Asked, read_asked
from gateway.fhir.auth import Source
from gateway.fhir.holding import Known
from gateway.fhir.interpret import understand
from gateway.fhir.references import graph
from gateway.hl7 import charset
from gateway.hl7.framing import End
from gateway.hl7.inbound import interpret
from gateway.hl7.reading import FLAWS, Expected, read
from gateway.mapping.registry import Modules
from gateway.mapping.replay import Readable
from gateway.model.er7 import read_er7
from gateway.model.errors import Invalid, Malformed
from gateway.model.message import Inbound, Interpretation, Message, Protocol

_NEXT_MESSAGE = re.compile(rb"(?:^|(?<=[\r\n\x0b]))(?=MSH[^A-Za-z0-9])")
_FRAME_BYTES = b"\x0b\x1c\r\n \t"


def read_stored(message: Message, *, fallback: str = "cp1252") -> Readable:
    """The stored message. Raises Malformed when it cannot be read."""
    if message.protocol is Protocol.HL7V2:
        return _read_hl7(message.raw, fallback)
    return _read_fhir(message.raw, read_asked(message.request))


def interpret_stored(
    message: Message | Inbound,
    modules: Modules,
    *,
    expected: Expected | None = None,
    source: Source | None = None,
    known: Known | None = None,
) -> Interpretation:
    """What the message means with these modules, as its edge would understand it now.

    One that came incomplete stays so. `source` is the FHIR source it came from; None when it is configured no longer.
    `known` is what is held of that source; without it nothing beyond the message is looked for.
    """
    if message.protocol is Protocol.HL7V2:
        reason = message.reason if isinstance(message, Message) else ""
        end = next((end for end, (_, text) in FLAWS.items() if text in reason), End.WHOLE)
        return interpret(read(message.raw, end, expected or Expected()), modules)
    unknown = Source(name=message.source)
    understood = understand(message.raw, source or unknown, modules, request=message.request, known=known)
    return understood.interpretation


def text_of(message: Message, *, fallback: str = "cp1252") -> str:
    """The message for a person to edit: HL7 with a segment on each line, FHIR as it was written."""
    if message.protocol is Protocol.FHIR:
        return message.raw.decode("utf-8-sig", errors="replace")
    try:
        text = charset.decode(message.raw, fallback=fallback).text
    except Malformed:
        text = message.raw.decode("latin-1")
    return "\n".join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def encode_text(message: Message, text: str, *, fallback: str = "cp1252") -> bytes:
    """Edited text as bytes, in the character set that it names or that the message was read in.

    Raises Invalid when it has characters that the set cannot hold, for those would be lost in silence.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if message.protocol is Protocol.FHIR:
        return lines.encode()
    segments = lines.rstrip("\n").replace("\n", "\r") + "\r"
    head = segments.partition("\r")[0]
    codecs = (_codec(message.raw, fallback), _codec(head.encode(), fallback))
    is_same_head = text_of(message, fallback=fallback).partition("\n")[0] == head
    for codec in codecs if is_same_head else codecs[::-1]:
        try:
            raw = segments.encode(codec)
            if charset.decode(raw, fallback=fallback).text == segments:
                return raw
        except (UnicodeEncodeError, Malformed):
            continue
    raise Invalid(f"text: has characters that {charset.FIELD} of the message cannot hold")


def _codec(raw: bytes, fallback: str) -> str:
    """The codec that reads the message."""
    try:
        return charset.decode(raw, fallback=fallback).codec
    except Malformed:
        return fallback


def read_messages(path: Path, *, fallback: str = "cp1252") -> Iterator[Readable]:
    """The messages of a file: HL7 v2, one or several, or one FHIR resource or Bundle.

    Raises Invalid when the file cannot be read or holds no message, Malformed when a message cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path}: cannot be read: {error.strerror}") from None
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        yield _read_fhir(content)
        return
    parts = [part for part in _NEXT_MESSAGE.split(content) if part.lstrip(b"\xef\xbb\xbf").startswith(b"MSH")]
    if not parts:
        raise Invalid(f"{path}: neither an HL7 v2 message (MSH) nor FHIR JSON")
    for part in parts:
        yield _read_hl7(part.strip(_FRAME_BYTES), fallback)


def _read_hl7(raw: bytes, fallback: str) -> Readable:
    decoded = charset.decode(raw, fallback=fallback)
    message = read_er7(decoded.text, hex_text=charset.hex_reader(decoded.codec))
    return Readable(text=decoded.text, content=message)


def _read_fhir(raw: bytes, asked: Asked | None = None) -> Readable:
    resource = read_arrival(raw, asked).resource
    found = graph(resource)
    if not found.orders:
        raise Malformed("there is no order in it")
    return Readable(text=raw.decode("utf-8-sig"), content=found, document=resource)
