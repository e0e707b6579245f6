"""Messages read again, from the store or from a file, as their edge read them when they came."""

import re
from collections.abc import Iterator
from pathlib import Path

from gateway.fhir.classify import read_arrival
from gateway.fhir.references import graph
from gateway.hl7 import charset
from gateway.mapping.replay import Readable
from gateway.model.er7 import read_er7
from gateway.model.errors import Invalid, Malformed
from gateway.model.message import Message, Protocol

_NEXT_MESSAGE = re.compile(rb"(?:^|(?<=[\r\n\x0b]))(?=MSH[^A-Za-z0-9])")
_FRAME_BYTES = b"\x0b\x1c\r\n \t"


def read_stored(message: Message, *, fallback: str = "cp1252") -> Readable:
    """The stored message. Raises Malformed when it cannot be read."""
    return _read_hl7(message.raw, fallback) if message.protocol is Protocol.HL7V2 else _read_fhir(message.raw)


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


def _read_fhir(raw: bytes) -> Readable:
    resource = read_arrival(raw).resource
    found = graph(resource)
    if not found.orders:
        raise Malformed("there is no order in it")
    return Readable(text=raw.decode("utf-8-sig"), content=found, document=resource)
