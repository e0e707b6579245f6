"""From the bytes of a frame to a message: decoded, split, and checked against what its listener takes."""

from dataclasses import dataclass

from gateway.hl7 import charset
from gateway.hl7.ack import INTERNAL
from gateway.hl7.framing import End
from gateway.model.er7 import Message, read_er7
from gateway.model.errors import Malformed
from gateway.model.message import Keys
from gateway.model.order import Fault, Place, Severity

SEQUENCE, TABLE, TYPE = "100", "103", "200"  # Source: HL7 table 0357
_PROCESSING_ID, _VERSION, _SENDER = "202", "203", "204"
FLAWS = {
    End.TRUNCATED: (SEQUENCE, "the message was cut short: the next one began before it ended"),
    End.OVERSIZED: (INTERNAL, "the message is longer than this listener takes"),
}
_FIELDS = {TABLE: 18, TYPE: 9, _PROCESSING_ID: 11, _VERSION: 12, _SENDER: 3}  # the field of MSH to blame
_MAX_KEY = 200  # longer ones would not fit an index


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a listener takes; an empty set takes all. `fallback_charset` is a Python codec."""

    fallback_charset: str = "cp1252"  # for senders whose MSH-18 is empty or wrong
    senders: frozenset[str] = frozenset()  # "MSH-3|MSH-4"
    processing_ids: frozenset[str] = frozenset()  # MSH-11.1
    versions: frozenset[str] = frozenset()  # MSH-12.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What could be read. `message` is None without a readable MSH; `fault` is None when all is well."""

    message: Message | None
    codec: str
    end: End = End.WHOLE
    warnings: tuple[str, ...] = ()
    fault: Fault | None = None

    @property
    def keys(self) -> Keys:
        """What the message is found by."""
        return _keys(self.message)

    @property
    def is_unanswerable(self) -> bool:
        """Whether it is the begin of a message that nobody could recognise in an answer."""
        return self.end is End.TRUNCATED and self.message is None


def read(raw: bytes, end: End = End.WHOLE, expected: Expected = Expected()) -> Reading:
    """What can be read of the message; never raises for bad bytes."""
    try:
        decoded = charset.decode(raw, fallback=expected.fallback_charset)
    except Malformed as error:
        fault = fault_of(TABLE, str(error))
        return Reading(message=_salvaged(raw), codec="latin-1", end=end, fault=fault)
    if end is not End.WHOLE:
        return Reading(message=_salvaged(raw), codec="latin-1", end=end, fault=fault_of(*FLAWS[end]))
    try:
        message = read_er7(decoded.text, hex_text=charset.hex_reader(decoded.codec))
    except Malformed as error:
        fault = fault_of(SEQUENCE, str(error))
        return Reading(message=None, codec=decoded.codec, warnings=decoded.warnings, fault=fault)
    return Reading(
        message=message,
        codec=decoded.codec,
        warnings=(*decoded.warnings, *message.warnings),
        fault=_unexpected(message, expected),
    )


def fault_of(code: str, text: str) -> Fault:
    """A fault of the whole message; its place is the field of MSH that is to blame, if one is."""
    field = _FIELDS.get(code)
    place = Place(segment="MSH", segment_repetition=1, field=field) if field else None
    return Fault(severity=Severity.REJECT, keyword="", place=place, code=code, text=text, at="")


def _unexpected(message: Message, expected: Expected) -> Fault | None:
    """Why the listener does not take such messages; None when it does."""
    head = message.header
    if expected.senders and f"{head.value(3)}|{head.value(4)}" not in expected.senders:
        return fault_of(_SENDER, "MSH-3 and MSH-4 (sender): not one this listener takes")
    if expected.processing_ids and head.value(11) not in expected.processing_ids:
        return fault_of(_PROCESSING_ID, "MSH-11 (processing id): not one this listener takes")
    if expected.versions and head.value(12) not in expected.versions:
        return fault_of(_VERSION, "MSH-12 (version id): not one this listener takes")
    return None


def _salvaged(raw: bytes) -> Message | None:
    """The MSH alone of a message that cannot be read whole, one character a byte; None when there is none."""
    text = raw.lstrip(b"\xff\xfe").replace(b"\0", b"").decode("latin-1").removeprefix("\xef\xbb\xbf")
    head = next((line for line in text.split("\r") if line.strip()), "").split("\n")[0]
    try:
        return read_er7(head)
    except Malformed:
        return None


def _keys(message: Message | None) -> Keys:
    if message is None:
        return Keys()
    head = message.header
    kind = "^".join((head.value(9, 1), head.value(9, 2))).rstrip("^")
    return Keys(
        control_id=_key(head.value(10)),
        sender=_key(f"{head.value(3)}|{head.value(4)}"),
        message_type=_key(kind),
        version=_key(head.value(12)),
        sent_at=_key(head.raw(7)),
    )


def _key(text: str) -> str:
    """`text` on one line and short enough for an index."""
    return " ".join(text.split())[:_MAX_KEY]
