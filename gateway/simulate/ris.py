"""The simulated RIS: writes orders as HL7 v2 messages and sends them over MLLP."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.hl7.sender import Sender
from gateway.model.er7 import escape, read_er7
from gateway.model.errors import Invalid, Malformed
from gateway.simulate.exams import AUTHORITY, Exam

TIMEOUT_S = 30.0

_LINE_END = re.compile(rb"\r\n|\r|\n")
_FRAME = b"\x0b\x1c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that was sent, and what the other side said to it."""

    control_id: str  # MSH-10
    code: str  # MSA-1: AA, AE or AR; "" when the answer has none
    text: str  # MSA-3, or ERR-8 when that is empty
    answer: bytes

    @property
    def is_accepted(self) -> bool:
        """Whether the other side took it. Source: HL7 table 0008."""
        return self.code in {"AA", "CA"}


def order_message(exam: Exam, *, control_id: str, sent_at: datetime, control: str = "NW") -> bytes:
    """An ORM^O01 of HL7 v2.5.1 in UTF-8 that orders `exam`; `control` is ORC-1.

    Times are local with their offset, in the zones of `sent_at` and of the exam's start.
    """
    segments = (
        _segment(
            "MSH", r"^~\&", "RIS", AUTHORITY, "GATEWAY", "RAD", _instant(sent_at), "", "ORM^O01^ORM_O01",
            escape(control_id), "P", "2.5.1", *[""] * 5, "UNICODE UTF-8",
        ),
        _patient(exam),
        _segment("PV1", "1", "O", "US^1", *[""] * 4, _parts(exam.referrer)),
        _segment(
            "ORC", control, escape(exam.number), escape(exam.accession), "", "SC", "",
            f"^^^{_instant(exam.start)}^^{exam.priority}", "", _instant(sent_at), "", "", _parts(exam.referrer),
        ),
        _request(exam),
    )  # fmt: skip
    return "".join(f"{segment}\r" for segment in segments).encode()


def read_messages(raw: bytes) -> tuple[bytes, ...]:
    """The messages in a file's content: segments end in CR, MLLP frame bytes are gone.

    For character sets in which ASCII bytes are ASCII. Raises Malformed when there is no MSH segment.
    """
    lines = [line.strip(_FRAME) for line in _LINE_END.split(raw.removeprefix(b"\xef\xbb\xbf"))]
    messages = tuple(_grouped(line for line in lines if line.strip()))
    if not messages:
        raise Malformed("the file holds no MSH segment")
    return messages


def send(
    messages: Iterable[bytes], host: str, port: int, *, timeout_s: float = TIMEOUT_S
) -> tuple[Sent, ...]:
    """What `host` answered to each of `messages`, sent in order on one connection.

    Raises Unavailable when it cannot be reached or does not answer, Malformed for a message without MSH.
    """
    with Sender(host, port, timeout_s=timeout_s) as sender:
        return tuple(_read_answer(message, sender.exchange(message)) for message in messages)


def send_files(
    paths: Iterable[Path], host: str, port: int, *, timeout_s: float = TIMEOUT_S
) -> tuple[Sent, ...]:
    """What `host` answered to each message in the files. Raises Invalid, Malformed, Unavailable."""
    messages = [message for path in paths for message in read_messages(_content(path))]
    return send(messages, host, port, timeout_s=timeout_s)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path}: cannot be read: {error.strerror}") from None


def _grouped(lines: Iterable[bytes]) -> Iterator[bytes]:
    message: list[bytes] = []
    for line in lines:
        if line.startswith(b"MSH") and message:
            yield b"".join(message)
            message = []
        if message or line.startswith(b"MSH"):
            message.append(line + b"\r")
    if message:
        yield b"".join(message)


def _read_answer(message: bytes, answer: bytes) -> Sent:
    control_id = read_er7(message.decode("utf-8", "replace")).header.value(10)
    reply = read_er7(answer.decode("utf-8", "replace"))
    verdict = next(reply.named("MSA"), None)
    fault = next(reply.named("ERR"), None)
    text = verdict.value(3) if verdict else ""
    return Sent(
        control_id=control_id,
        code=verdict.value(1) if verdict else "",
        text=text or (fault.value(8) if fault else ""),
        answer=answer,
    )


def _patient(exam: Exam) -> str:
    identifier = f"{escape(exam.patient_id)}^^^{AUTHORITY}^MR"
    return _segment(
        "PID", "1", "", identifier, "", _parts(exam.name), "", exam.birth_date, escape(exam.sex),
        *[""] * 2, "1 High Street^^Springfield",
    )  # fmt: skip


def _request(exam: Exam) -> str:
    """The OBR. Source: HL7 v2.5.1 4.5.3; OBR-18 to OBR-20 as IHE RAD TF-2 4.2 uses them."""
    code = f"{escape(exam.code.value)}^{escape(exam.code.meaning)}^{escape(exam.code.scheme)}"
    number = exam.accession
    return _segment(
        "OBR", "1", escape(exam.number), escape(number), code, *[""] * 8, escape(exam.reason), "", "",
        _parts(exam.referrer), "", escape(number), f"RP{number[-6:]}", f"SPS{number[-6:]}", "", "", "", exam.modality,
        "", "", f"^^^{_instant(exam.start)}^^{exam.priority}", *[""] * 3, f"^{escape(exam.reason)}",
    )  # fmt: skip


def _segment(*fields: str) -> str:
    return "|".join(fields)


def _parts(texts: Iterable[str]) -> str:
    return "^".join(escape(text) for text in texts)


def _instant(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%S%z}"
