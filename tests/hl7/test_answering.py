from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.hl7.ack import AckCode
from gateway.hl7.answering import (
    Codes,
    Manner,
    Wanted,
    When,
    answers_in,
    chosen,
    read_wanted,
    render_answers,
    render_our_fault,
)
from gateway.hl7.framing import End
from gateway.hl7.reading import Reading, read
from gateway.model.er7 import Segment, read_er7
from gateway.model.ids import MessageId
from gateway.model.message import Interpretation, MessageState, Receipt
from gateway.model.order import Action, Fault, Mapped, ModuleRef, OrderRequest, Place, Severity

MANNER = Manner(new_control_id="GW1", at=datetime(2026, 7, 23, 9, 30, tzinfo=ZoneInfo("Europe/London")))
GOOD = Codes(accept=AckCode.COMMITTED, application=AckCode.ACCEPTED)
BAD = Codes(accept=AckCode.COMMITTED, application=AckCode.ERROR)
REFUSED = Codes(accept=AckCode.NOT_FOR_US, application=AckCode.REJECTED)
DOUBT = Fault(
    severity=Severity.HOLD,
    keyword="Modality",
    place=Place(segment="OBR", segment_repetition=1, field=24),
    code="103",
    text="Modality: not in table",
    at="orders-hl7.yaml:12",
)


def reading(accept: str = "", application: str = "", *, version: str = "2.5.1") -> Reading:
    head = f"MSH|^~\\&|RIS|HOSP|GW|RAD|20261123||ORM^O01|CTL1|P|{version}|||{accept}|{application}\r"
    return read(head.encode())


def receipt(
    state: MessageState = MessageState.MAPPED, *faults: Fault, reason: str = "", code: str = ""
) -> Receipt:
    module = ModuleRef(name="orders", version="1")
    request = OrderRequest(action=Action.SCHEDULE, attributes={}, faults=faults, provenance=(), module=module)
    mapped = Mapped(requests=(request,), skipped=(), module=None)
    interpretation = Interpretation(
        keys=reading().keys, mapped=mapped, failure=reason if code else "", failure_code=code
    )
    return Receipt(message_id=MessageId(1), state=state, interpretation=interpretation, reason=reason)


def said(raw: bytes) -> list[str]:
    """MSA-1 of each acknowledgement."""
    return [next(read_er7(one.decode()).named("MSA")).value(1) for one in answers_in(raw)]


def errors(raw: bytes) -> list[Segment]:
    return [error for one in answers_in(raw) for error in read_er7(one.decode()).named("ERR")]


# What leaves for (CA, AA), (CA, AE) and (CR, AR). Source: HL7 v2.5.1 2.9.3, tables 0155 and 0008.
MATRIX = {
    ("", ""): ("AA", "AE", "AR"),
    ("AL", ""): ("CA", "CA", "CR"),
    ("AL", "NE"): ("CA", "CA", "CR"),
    ("AL", "AL"): ("CA AA", "CA AE", "CR"),
    ("AL", "ER"): ("CA", "CA AE", "CR"),
    ("AL", "SU"): ("CA AA", "CA", "CR"),
    ("NE", ""): ("", "", ""),
    ("NE", "NE"): ("", "", ""),
    ("NE", "AL"): ("AA", "AE", "AR"),
    ("NE", "ER"): ("", "AE", "AR"),
    ("NE", "SU"): ("AA", "", ""),
    ("ER", ""): ("", "", "CR"),
    ("ER", "NE"): ("", "", "CR"),
    ("ER", "AL"): ("AA", "AE", "CR"),
    ("ER", "ER"): ("", "AE", "CR"),
    ("ER", "SU"): ("AA", "", "CR"),
    ("SU", ""): ("CA", "CA", ""),
    ("SU", "NE"): ("CA", "CA", ""),
    ("SU", "AL"): ("CA AA", "CA AE", "AR"),
    ("SU", "ER"): ("CA", "CA AE", "AR"),
    ("SU", "SU"): ("CA AA", "CA", ""),
    ("", "NE"): ("", "", ""),
    ("", "AL"): ("AA", "AE", "AR"),
    ("", "ER"): ("", "AE", "AR"),
    ("", "SU"): ("AA", "", ""),
}


@pytest.mark.parametrize(("asked", "expected"), MATRIX.items(), ids="+".join)
def test_the_acknowledgements_are_those_asked_for(
    asked: tuple[str, str], expected: tuple[str, str, str]
) -> None:
    wanted = read_wanted(reading(*asked).message)
    assert tuple(" ".join(chosen(wanted, codes)) for codes in (GOOD, BAD, REFUSED)) == expected


@pytest.mark.parametrize(
    ("accept", "application", "wanted"),
    [
        ("", "", None),
        ('""', '""', None),
        (" ", "", None),
        ("al", "ne", Wanted(accept=When.ALWAYS, application=When.NEVER)),
        ("XX", "", Wanted(accept=When.ALWAYS, application=When.NEVER)),
        ('""', "ER", Wanted(accept=When.NEVER, application=When.ON_ERROR)),
    ],
)
def test_the_wish_is_read_with_forgiveness(accept: str, application: str, wanted: Wanted | None) -> None:
    assert read_wanted(reading(accept, application).message) == wanted


def test_a_message_without_a_header_is_answered_in_original_mode() -> None:
    assert read_wanted(None) is None


def test_both_answers_have_ids_of_their_own_and_name_the_message() -> None:
    raw = render_answers(reading("AL", "AL"), receipt(), MANNER)
    heads = [read_er7(one.decode()).header for one in answers_in(raw)]
    assert [head.value(10) for head in heads] == ["GW1", "GW1.2"]
    assert [head.raw(9) for head in heads] == ["ACK^O01^ACK"] * 2
    assert [next(read_er7(one.decode()).named("MSA")).value(2) for one in answers_in(raw)] == ["CTL1"] * 2


def test_faults_stand_in_the_application_answer_alone() -> None:
    accept, application = answers_in(
        render_answers(reading("AL", "AL"), receipt(MessageState.HELD, DOUBT), MANNER)
    )
    assert (said(accept), errors(accept)) == (["CA"], [])
    assert [error.value(7) for error in errors(application)] == ["orders-hl7.yaml:12"]


@pytest.mark.parametrize(
    ("code", "accept"),
    [("200", "CR"), ("202", "CR"), ("203", "CR"), ("204", "CR"), ("100", "CE"), ("103", "CE")],
)
def test_a_refusal_of_the_whole_message_says_why_in_the_accept_answer(code: str, accept: str) -> None:
    refused = receipt(MessageState.FAILED, reason="MSH-12: no", code=code)
    raw = render_answers(reading("AL", "AL"), refused, MANNER)
    assert (said(raw), [error.value(3) for error in errors(raw)]) == ([accept], [code])
    assert said(render_answers(reading(), refused, MANNER)) == ["AR"]


def test_a_rejecting_fault_is_committed_and_an_application_error() -> None:
    refusing = replace(DOUBT, severity=Severity.REJECT)
    assert said(render_answers(reading("AL", "AL"), receipt(MessageState.FAILED, refusing), MANNER)) == [
        "CA",
        "AE",
    ]


def test_what_cannot_be_stored_is_an_error_in_both_modes() -> None:
    assert said(render_our_fault(reading(), MANNER)) == ["AE"]
    assert said(render_our_fault(reading("AL", "AL"), MANNER)) == ["CE"]
    assert said(render_our_fault(reading("SU", "AL"), MANNER)) == ["AE"]


def test_a_hold_is_accepted_unless_the_listener_says_error() -> None:
    held = receipt(MessageState.HELD, DOUBT, reason="Modality: not in table")
    accepted, refused = (
        render_answers(reading(), held, replace(MANNER, is_hold_an_error=is_error))
        for is_error in (False, True)
    )
    assert (said(accepted), [error.value(4) for error in errors(accepted)]) == (["AA"], ["W"])
    assert (said(refused), [error.value(4) for error in errors(refused)]) == (["AE"], ["E"])


def test_a_hold_without_a_fault_is_an_error_that_says_why() -> None:
    held = receipt(MessageState.HELD, reason="'cancel' was asked for an order that is not known here")
    (error,) = errors(render_answers(reading(), held, replace(MANNER, is_hold_an_error=True)))
    assert (error.value(3), error.value(4), error.value(8)) == ("204", "E", held.reason)


def test_an_older_sender_hears_of_a_hold_in_the_old_form() -> None:
    held = receipt(MessageState.HELD, DOUBT, reason="x")
    raw = render_answers(reading(version="2.3"), held, replace(MANNER, is_hold_an_error=True))
    assert (said(raw), errors(raw)[0].raw(1)) == (["AE"], "OBR^1^24^103")


def test_remarks_on_the_batch_are_warnings_of_the_answer() -> None:
    remark = "BTS-1 (messages in the batch): says 2, there are 1"
    manner = replace(MANNER, remarks=(remark,))
    (error,) = errors(render_answers(reading(), receipt(), manner))
    assert (error.raw(2), error.value(4), error.value(8)) == ("BTS^1^1", "W", remark)
    old = render_answers(reading(version="2.3"), receipt(), manner)
    assert (said(old), next(read_er7(old.decode()).named("MSA")).value(3)) == (["AA"], remark)


def test_the_begin_of_an_unrecognisable_message_gets_no_answer() -> None:
    cut = read(b"PID|1||A\r", End.TRUNCATED)
    assert render_answers(cut, receipt(MessageState.FAILED, reason="cut", code="100"), MANNER) == b""
    readable = read(b"MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM|C", End.TRUNCATED)
    assert said(render_answers(readable, receipt(MessageState.FAILED, reason="cut", code="100"), MANNER)) == [
        "AR"
    ]


def test_answers_are_taken_apart_at_their_headers() -> None:
    assert answers_in(b"") == ()
    assert answers_in(b"hello") == (b"hello",)
    assert answers_in(b"MSH|1\rMSA|CA\rMSH|2\rMSA|AA\r") == (b"MSH|1\rMSA|CA\r", b"MSH|2\rMSA|AA\r")
