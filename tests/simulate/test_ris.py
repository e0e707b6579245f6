"""The simulated RIS against an MLLP listener."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping.registry import Modules
from gateway.model.er7 import read_er7
from gateway.model.errors import Malformed, Unavailable
from gateway.model.order import Action
from gateway.simulate import ris
from gateway.simulate.exams import Exam, planned

FIXTURE = Path(__file__).parents[2] / "fixtures" / "demo" / "orders.hl7"


def test_an_order_says_what_the_exam_says(exam: Exam, now: datetime) -> None:
    message = read_er7(ris.order_message(exam, control_id="C1", sent_at=now).decode())
    patient, request = next(message.named("PID")), next(message.named("OBR"))
    assert message.header.value(9) == "ORM"
    assert message.header.value(10) == "C1"
    assert message.header.value(18) == "UNICODE UTF-8"
    assert patient.value(3) == exam.patient_id
    assert (patient.value(5), patient.value(5, 2)) == exam.name
    assert request.value(4, 2) == "Ultrasound abdomen & kidneys"
    assert request.value(18) == exam.accession
    assert request.value(24) == "US"


def test_the_shipped_mapping_reads_an_order(exam: Exam, now: datetime, modules: Modules) -> None:
    message = read_er7(ris.order_message(exam, control_id="C1", sent_at=now).decode())
    (request,) = modules.map_hl7(message).requests
    assert request.action is Action.SCHEDULE
    assert request.faults == ()
    assert request.text("PatientName") == exam.person_name
    assert request.text("AccessionNumber") == exam.accession
    assert request.text("Modality") == "US"
    assert request.text("ScheduledProcedureStepStartDateTime") == exam.start.isoformat()


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_text_survives_the_message(text: str) -> None:
    now = datetime.fromisoformat("2026-11-23T09:00:00+00:00")
    exam = replace(planned(now, 1)[0], name=(text, "X"), reason=text)
    message = read_er7(ris.order_message(exam, control_id="C1", sent_at=now).decode())
    assert next(message.named("PID")).value(5) == text
    assert next(message.named("OBR")).value(13) == text


def test_each_message_is_answered(listener: Any, now: datetime) -> None:
    messages = [
        ris.order_message(exam, control_id=f"C{number}", sent_at=now)
        for number, exam in enumerate(planned(now, 3), start=1)
    ]
    sent = ris.send(messages, "127.0.0.1", listener.port)
    assert [one.control_id for one in sent] == ["C1", "C2", "C3"]
    assert all(one.is_accepted and one.code == "AA" for one in sent)
    assert listener.messages == messages


def test_a_refusal_carries_its_reason(listener: Any, exam: Exam, now: datetime) -> None:
    listener.code = "AE"
    (sent,) = ris.send([ris.order_message(exam, control_id="C1", sent_at=now)], "127.0.0.1", listener.port)
    assert not sent.is_accepted
    assert (sent.code, sent.text) == ("AE", "PID-3: absent")


def test_the_messages_of_files_are_sent_in_order(listener: Any) -> None:
    sent = ris.send_files([FIXTURE, FIXTURE], "127.0.0.1", listener.port)
    assert [one.control_id for one in sent] == ["DEMO-A", "DEMO-B", "DEMO-A", "DEMO-B"]


def test_the_fixture_is_mapped_without_faults(modules: Modules) -> None:
    for message in ris.read_messages(FIXTURE.read_bytes()):
        (request,) = modules.map_hl7(read_er7(message.decode())).requests
        assert request.faults == ()


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_line_ends_and_frames_do_not_matter(end: bytes) -> None:
    raw = b"\x0b" + end.join([b"MSH|^~\\&|A", b"PID|1", b"MSH|^~\\&|B", b"PID|2", b"\x1c"]) + b"\r"
    assert ris.read_messages(raw) == (b"MSH|^~\\&|A\rPID|1\r", b"MSH|^~\\&|B\rPID|2\r")


def test_a_file_without_a_message_is_malformed() -> None:
    with pytest.raises(Malformed, match="MSH"):
        ris.read_messages(b"hello\n")


def test_nobody_listening_is_unavailable(exam: Exam, now: datetime, free_port: int) -> None:
    with pytest.raises(Unavailable):
        ris.send([ris.order_message(exam, control_id="C1", sent_at=now)], "127.0.0.1", free_port)
