"""Orders from real message texts through the shipped mapping: the control table, identity, events, order of news."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from gateway.flow.order_of_news import STALE, newest, read_sent
from gateway.flow.ports import Ports, Release
from gateway.model.lifecycle import State
from gateway.model.message import MessageState
from gateway.model.order import Order
from gateway.store import patients

if TYPE_CHECKING:
    from tests.flow.conftest import Feed

OrderFactory = Callable[..., Order]
PID = "PID|1||MRN1^^^GENHOSP^MR||DOE^JANE||19800214|F"
OBR = "OBR|1|P1|F1|USABD^Ultrasound abdomen^L||||||||||||||ACC1||||||US|||^^^20261123103000"
SIU = "SCH|AP1|AF1" + "|" * 23 + "{status}|P1|F1"
NONE = None
AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def _orc(control: str, status: str = "") -> str:
    return f"ORC|{control}|P1|F1||{status}"


@pytest.mark.parametrize(
    ("control", "status", "is_known", "state", "fate"),
    [
        *[(c, s, False, State.SCHEDULED, "mapped") for c in ("NW", "NA", "SN", "OR") for s in ("", "SC", "IP", "A")],
        *[(c, "HD", False, State.HELD, "mapped") for c in ("NW", "NA", "SN", "OR")],
        *[(c, s, True, State.SENT, "mapped") for c in ("XO", "XX", "RP", "RU", "RO") for s in ("", "SC")],
        ("XO", "IP", True, State.STARTED, "mapped"), ("SC", "IP", True, State.STARTED, "mapped"),
        ("XO", "CM", True, State.COMPLETED, "mapped"), ("SC", "CM", True, State.COMPLETED, "mapped"),
        ("SC", "A", True, State.STARTED, "mapped"), ("SC", "AR", True, State.SENT, "mapped"),
        *[(c, s, True, State.CANCELLED, "mapped") for c in ("CA", "OC", "CR") for s in ("", "CA", "SC")],
        *[(c, s, False, State.CANCELLED, "held") for c in ("CA", "OC", "CR") for s in ("", "CA")],
        *[(c, s, True, State.DISCONTINUED, "mapped") for c in ("DC", "OD", "DR") for s in ("", "CA", "DC")],
        *[(c, "", False, State.DISCONTINUED, "held") for c in ("DC", "OD", "DR")],
        ("UC", "", True, State.HELD, "held"), ("UD", "", True, State.HELD, "held"),
        ("HD", "", True, State.HELD, "mapped"), ("HD", "SC", True, State.HELD, "mapped"),
        ("SC", "CA", True, State.CANCELLED, "mapped"), ("SC", "DC", True, State.DISCONTINUED, "mapped"),
    ],
)  # fmt: skip
def test_order_control_and_status_lead_to_the_state_of_the_table(
    feed: "Feed",
    order_factory: OrderFactory,
    control: str,
    status: str,
    is_known: bool,
    state: State,
    fate: str,
) -> None:
    if is_known:
        order_factory(
            accession="ACC1", issuer="GENHOSP", PlacerOrderNumberImagingServiceRequest="P1",
            FillerOrderNumberImagingServiceRequest="F1",
        )  # fmt: skip
    answered = feed.send("ORM^O01", PID, _orc(control, status), OBR)
    assert [order.state for order in feed.orders()] == [state]
    # a new order that its sender holds is no doubt of ours
    assert answered.state == fate


def test_a_hold_of_the_sender_is_released_by_the_sender(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, _orc("NW", "HD"), OBR)
    assert [order.state for order in feed.orders()] == [State.HELD]
    feed.send("ORM^O01", PID, _orc("RL"), OBR)
    assert [order.state for order in feed.orders()] == [State.SCHEDULED]


@pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELLED, State.DISCONTINUED])
@pytest.mark.parametrize("control", ["NW", "XO", "SC_IP", "RL", "RP"])
def test_an_order_that_is_over_is_never_resurrected(
    feed: "Feed", order_factory: OrderFactory, state: State, control: str
) -> None:
    over = order_factory(accession="ACC1", issuer="GENHOSP", state=state)
    answered = feed.send("ORM^O01", PID, _orc(*control.split("_")), OBR.replace("P1|F1", "|"))
    assert answered.state is MessageState.HELD
    assert f"which is {state}" in feed.reason(answered)
    assert feed.orders() == (over,)


def test_one_message_for_each_step_of_one_study_loses_no_step(feed: "Feed") -> None:
    for step in ("S1", "S2", "S3"):
        obr = OBR.replace("ACC1||", f"ACC1|RP1|{step}")
        feed.send("ORM^O01", PID, _orc("NW"), obr)
    assert [order.step_id for order in feed.orders()] == ["S1", "S2", "S3"]
    assert len({order.study_uid for order in feed.orders()}) == 1
    feed.send("ORM^O01", PID, _orc("XO"), OBR.replace("ACC1||", "ACC1|RP1|S2").replace("abdomen", "liver"))
    assert [order.description for order in feed.orders()] == [
        "Ultrasound abdomen", "Ultrasound liver", "Ultrasound abdomen",
    ]  # fmt: skip


def test_several_orders_of_one_message_sent_again_are_updates(feed: "Feed") -> None:
    two = OBR.replace("P1|F1", "P2|F2").replace("ACC1", "ACC2")
    segments = PID, _orc("NW"), OBR, "ORC|NW|P2|F2", two
    feed.send("ORM^O01", *segments)
    feed.send("ORM^O01", *segments)
    assert [order.accession for order in feed.orders()] == ["ACC1", "ACC2"]


def test_a_cancel_that_names_no_step_is_for_every_step(feed: "Feed") -> None:
    ipc = [f"IPC|ACC1|RP1|1.2.3|S{n}|US" for n in (1, 2)]
    feed.send("OMI^O23", PID, "ORC|NW|P1|F1", "OBR|1|P1|F1|USABD^Abdomen^L", *ipc)
    assert len(feed.orders()) == 2
    feed.send("ORM^O01", PID, "ORC|CA|P1|F1", "OBR|1|P1|F1")
    assert [order.state for order in feed.orders()] == [State.CANCELLED, State.CANCELLED]


def test_an_order_is_never_moved_to_another_patient_silently(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, _orc("NW"), OBR)
    for other in (PID.replace("MRN1", "MRN2"), PID.replace("GENHOSP", "ELSEWHERE")):
        assert feed.send("ORM^O01", other, _orc("XO"), OBR).state is MessageState.HELD
        (order,) = feed.orders()
        assert (order.state, order.patient.patient_id, order.patient.issuer) == (
            State.HELD,
            "MRN1",
            "GENHOSP",
        )


PLACED = "OBR|1|P1||{code}^{name}^L||||||||||||||{accession}||||||US|||^^^20261123103000"


def test_orders_under_one_placer_number_are_told_apart_by_their_accession_numbers(feed: "Feed") -> None:
    """A sender whose filler fills in its number later, or never."""
    abdomen = PLACED.format(code="USABD", name="Abdomen", accession="ACC1")
    thyroid = PLACED.format(code="USTHY", name="Thyroid", accession="ACC2")
    feed.send("ORM^O01", PID, "ORC|NW|P1", abdomen)
    feed.send("ORM^O01", PID, "ORC|NW|P1", thyroid)
    assert [(o.accession, o.description) for o in feed.orders()] == [("ACC1", "Abdomen"), ("ACC2", "Thyroid")]
    feed.send("ORM^O01", PID, "ORC|NW|P1", abdomen, "ORC|NW|P1", thyroid)
    feed.send("ORM^O01", PID, "ORC|XO|P1", thyroid.replace("Thyroid", "Thyroid, both sides"))
    assert [(o.accession, o.description) for o in feed.orders()] == [
        ("ACC1", "Abdomen"), ("ACC2", "Thyroid, both sides"),
    ]  # fmt: skip
    feed.send("ORM^O01", PID, "ORC|CA|P1", thyroid)
    assert [order.state for order in feed.orders()] == [State.SCHEDULED, State.CANCELLED]


def test_an_accession_number_that_comes_later_or_is_mended_makes_no_second_order(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, _orc("NW"), OBR.replace("ACC1", ""))
    assert [order.accession for order in feed.orders()] == ["F1"]  # its sender's number stands in
    for accession in ("ACC1", "ACC2"):
        feed.send("ORM^O01", PID, _orc("XO"), OBR.replace("ACC1", accession))
        assert [order.accession for order in feed.orders()] == [accession]


def test_an_order_number_never_stands_in_for_what_the_order_has(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, _orc("NW"), OBR.replace("ACC1||", "ACC1|RP1|S1"))
    (before,) = feed.orders()
    for control, status in (("SC", "A"), ("XO", ""), ("SC", "CM")):
        feed.send("ORM^O01", PID, _orc(control, status), "OBR|1|P1|F1")
        (order,) = feed.orders()
        assert (order.accession, order.procedure_id, order.step_id) == ("ACC1", "RP1", "S1")
        assert order.attributes["AccessionNumber"] == before.attributes["AccessionNumber"]


IPC = [f"IPC|ACC1|RP1|1.2.3|S{n}|US" for n in (1, 2)]
NEW = "ORC|NW|P1|F1", "OBR|1|P1|F1|USABD^Abdomen^L", *IPC


def test_every_step_of_several_orders_is_cancelled_by_one_message(feed: "Feed") -> None:
    other = [segment.replace("P1|F1", "P2|F2").replace("ACC1|RP1", "ACC2|RP2") for segment in NEW]
    feed.send("OMI^O23", PID, *NEW)
    feed.send("OMI^O23", PID, *other)
    cancels = [part for n in (1, 2) for part in (f"ORC|CA|P{n}|F{n}", f"OBR|{n}|P{n}|F{n}")]
    assert feed.send("ORM^O01", PID, *cancels).state is MessageState.MAPPED
    assert [order.state for order in feed.orders()] == [State.CANCELLED] * 4


def test_a_hold_that_names_no_step_is_for_every_step_and_so_is_its_end(feed: "Feed") -> None:
    feed.send("OMI^O23", PID, *NEW)
    feed.send("ORM^O01", PID, "ORC|HD|P1|F1", "OBR|1|P1|F1")
    assert [order.state for order in feed.orders()] == [State.HELD, State.HELD]
    feed.send("ORM^O01", PID, "ORC|RL|P1|F1", "OBR|1|P1|F1")
    assert [order.state for order in feed.orders()] == [State.SCHEDULED, State.SCHEDULED]


def test_a_change_that_names_no_step_is_for_every_step_and_leaves_each_its_own(feed: "Feed") -> None:
    steps = [f"IPC|ACC1|RP1|1.2.3|S{n}|US|U{n}^{side}^L" for n, side in ((1, "Left"), (2, "Right"))]
    feed.send("OMI^O23", PID, *NEW[:2], *steps)
    feed.send("ORM^O01", PID, "ORC|XO|P1|F1||||^^^20261125103000", "OBR|1|P1|F1|USABD^Abdomen^L")
    found = [
        (order.step_id, order.attributes["ScheduledProcedureStepDescription"], f"{order.start:%d %H:%M}")
        for order in feed.orders()
    ]
    assert found == [("S1", "Left", "25 10:30"), ("S2", "Right", "25 10:30")]


def test_an_end_that_overtakes_an_order_of_several_steps_keeps_them_all_off_the_machine(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, "ORC|CA|P1|F1", "OBR|1|P1|F1")
    assert feed.send("OMI^O23", PID, *NEW).state is MessageState.HELD
    assert [order.state for order in feed.orders()] == [State.CANCELLED]


STRANGER = "PID|1||MRN2^^^GENHOSP^MR||ROE^RICHARD||19570301|M"


@pytest.mark.parametrize(
    "message",
    [
        ("ORM^O01", STRANGER, _orc("CA"), OBR),
        ("ORM^O01", STRANGER, _orc("DC"), OBR),
        ("ORM^O01", STRANGER, _orc("SC", "CM"), OBR),
        ("ORM^O01", STRANGER, _orc("SC", "IP"), OBR),
        ("SIU^S13", SIU.format(status="Booked"), STRANGER, "RGS|1", "AIS|1||US^Abdomen^L|20261124080000"),
        ("SIU^S15", SIU.format(status=""), STRANGER),
        ("SIU^S14", SIU.format(status="Arrived"), STRANGER),
    ],
    ids=["cancel", "discontinue", "complete", "start", "move", "take back", "arrive"],
)
def test_a_message_about_another_patient_moves_and_ends_no_order(
    feed: "Feed", message: tuple[str, ...]
) -> None:
    feed.send("ORM^O01", PID, _orc("NW"), OBR)
    before = feed.orders()
    answered = feed.send(message[0], *message[1:])
    assert (answered.state, "another patient than order 1 has" in feed.reason(answered)) == ("held", True)
    assert feed.orders() == before


def test_a_change_with_another_patient_leaves_the_order_what_it_was_and_holds_it(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, "AL1|1|DA|^Iodine", _orc("NW"), OBR)
    (before,) = feed.orders()
    obr = OBR.replace("abdomen", "testis").replace("ACC1", "ACC2")
    for control in ("XO", "NW"):
        answered = feed.send("ORM^O01", STRANGER, "AL1|1|DA|^Latex", _orc(control), obr)
        assert answered.state is MessageState.HELD
        (order,) = feed.orders()
        assert order.state is State.HELD
        assert (order.attributes, order.accession) == (before.attributes, "ACC1")
        assert ["another patient than order 1 has" in str(fault) for fault in order.faults] == [True]
    # its own patient's next message frees it
    assert feed.send("ORM^O01", PID, _orc("XO"), OBR).state is MessageState.MAPPED
    assert feed.orders()[0].state is State.SCHEDULED


@pytest.mark.parametrize("control", ["CA", "OC", "DC"])
@pytest.mark.parametrize("pid", [PID, ""])
@pytest.mark.parametrize("obr", [OBR, "OBR|1|P1"])
def test_an_end_that_overtakes_its_order_keeps_it_off_the_machine(
    feed: "Feed", control: str, pid: str, obr: str
) -> None:
    segments = [segment for segment in (pid, f"ORC|{control}|P1", obr) if segment]
    assert feed.send("ORM^O01", *segments, sent_at="20261123090100").state is MessageState.HELD
    gone = State.DISCONTINUED if control == "DC" else State.CANCELLED
    assert [order.state for order in feed.orders()] == [gone]
    late = feed.send("ORM^O01", PID, _orc("NW"), OBR, sent_at="20261123090000")
    assert (late.state, feed.reason(late)) == (MessageState.SKIPPED, STALE)
    undated = feed.send("ORM^O01", PID, _orc("NW"), OBR)
    assert undated.state is MessageState.HELD
    assert [order.state for order in feed.orders()] == [gone]


def test_an_update_older_than_what_is_stored_is_recorded_and_not_applied(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, _orc("NW"), OBR, sent_at="20261123090000")
    feed.send("ORM^O01", PID, _orc("XO"), OBR.replace("abdomen", "liver"), sent_at="20261123091000")
    for control in ("XO", "CA", "NW"):
        late = feed.send("ORM^O01", PID, _orc(control), OBR.replace("abdomen", "x"), sent_at="20261123090959")
        assert (late.state, feed.reason(late)) == (MessageState.SKIPPED, STALE)
    (order,) = feed.orders()
    assert (order.state, order.description) == (State.SCHEDULED, "Ultrasound liver")
    assert feed.deeds(f"order:{order.id}").count("order.late") == 3
    feed.send("ORM^O01", PID, _orc("XO"), OBR.replace("abdomen", "spleen"), sent_at="20261123091000")
    assert feed.orders()[0].description == "Ultrasound spleen"
    # the same instant as 09:11 in London
    feed.send("ORM^O01", PID, _orc("XO"), OBR.replace("abdomen", "kidney"), sent_at="20261123101100+0100")
    assert feed.orders()[0].description == "Ultrasound kidney"


def test_what_happened_stays_true_however_late_it_is_told(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, _orc("NW"), OBR, sent_at="20261123091000")
    feed.send("ORM^O01", PID, _orc("SC", "AR"), OBR, sent_at="20261123090000")
    assert feed.orders()[0].arrived_at is not None
    feed.send("ORM^O01", PID, _orc("SC", "IP"), OBR, sent_at="20261123090000")
    assert feed.orders()[0].state is State.STARTED


def test_an_older_word_on_the_patient_changes_nothing(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, _orc("NW"), OBR, sent_at="20261123090000")
    feed.send("ADT^A08", "EVN|A08", PID.replace("DOE", "SMITH"), sent_at="20261123100000")
    late = feed.send("ADT^A08", "EVN|A08", PID.replace("DOE", "OLD"), sent_at="20261123093000")
    assert (late.state, feed.reason(late)) == (MessageState.SKIPPED, STALE)
    # an order that waited in its sender's queue brings the old name
    obr = OBR.replace("P1|F1", "P2|F2").replace("ACC1", "ACC2")
    feed.send("ORM^O01", PID, "ORC|NW|P2|F2", obr, sent_at="20261123094500")
    assert [(o.patient.name, o.attributes["PatientName"]) for o in feed.orders()] == [("SMITH^JANE",) * 2] * 2


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("20261123090000", "09:00:00+00:00", "09:00:01+00:00"),
        ("20261123090000.25", "09:00:00.250000+00:00", "09:00:00.250000+00:00"),
        ("202611230900+0100", "08:00:00+00:00", "08:01:00+00:00"),
        ("2026-11-23T09:00:00Z", "09:00:00+00:00", "09:00:01+00:00"),
        ("20261025013000", "2026-10-25T00:30:00+00:00", "2026-10-25T01:30:01+00:00"),  # shown twice that night
        *((text, NONE, NONE) for text in ("", "20261123", "nonsense", "20269923090000", "20990101000000")),
    ],
)  # fmt: skip
def test_when_a_message_was_sent(text: str, first: str | None, last: str | None) -> None:
    sent = read_sent(text, ZoneInfo("Europe/London"), AT)
    if first is None or last is None:
        assert sent is None
        assert newest(AT, sent) == AT
    else:
        assert sent is not None
        assert sent.first.isoformat().endswith(first)
        assert sent.last.isoformat().endswith(last)


def test_appointments_are_booked_moved_and_cancelled(feed: "Feed") -> None:
    feed.send("ORM^O01", PID, _orc("NW"), OBR)

    def siu(event: str, at: str = "", status: str = "Booked") -> Order:
        services = ["RGS|1", f"AIS|1||US^Abdomen^L|{at}"] if at else []
        answered = feed.send(f"SIU^{event}", SIU.format(status=status), PID, *services)
        assert answered.state is MessageState.MAPPED
        return feed.orders()[0]

    for event, hour in (("S12", "08"), ("S13", "09"), ("S14", "10")):
        moved = siu(event, f"20261124{hour}0000")
        assert moved.start is not None
        assert moved.start.isoformat() == f"2026-11-24T{hour}:00:00+00:00"
    for event in ("S15", "S17", "S26"):
        siu("S13", "20261124110000")
        assert (siu(event, status="").start, feed.orders()[0].state) == (None, State.SCHEDULED)


@pytest.mark.parametrize(
    "message",
    [("ADT^A10", PID), ("SIU^S14", SIU.format(status="Arrived"), PID), ("ORM^O01", PID, _orc("SC", "AR"), OBR)],
    ids=["ADT", "SIU", "ORM"],
)  # fmt: skip
def test_an_arrival_is_noted_and_sends_the_order_where_the_site_wants_that(
    feed: "Feed", ports: Ports, message: tuple[str, ...]
) -> None:
    feed.ports = replace(ports, release=Release.ON_ARRIVAL, stations=ports.stations[:1])
    feed.send("ORM^O01", PID, _orc("NW"), OBR)
    assert feed.orders()[0].state is State.SCHEDULED
    assert feed.send(message[0], *message[1:]).state is MessageState.MAPPED
    (order,) = feed.orders()
    assert (order.state, order.station, order.arrived_at) == (State.SENT, "US1", ports.clock())


def test_messages_at_once_never_make_two_patients_or_two_orders(feed: "Feed", ports: Ports) -> None:
    """Eight threads over four sources: one patient, and for each source one order of each number."""
    faults: list[BaseException] = []
    start = threading.Barrier(8)

    def push(thread: int) -> None:
        try:
            start.wait()
            for number in range(6):
                obr = OBR.replace("P1|F1", f"P{number}|F{number}").replace("ACC1", f"ACC{number}")
                source = f"ris{thread % 4}"
                feed.send("ORM^O01", PID, f"ORC|NW|P{number}|F{number}", obr, source=source)
                feed.send("ADT^A08", PID.replace("JANE", f"JANE{thread}"), source=source)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=push, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    made = [(order.source, order.accession) for order in feed.orders()]
    assert len(made) == len(set(made)) == 24
    with ports.database.read() as tx:
        assert len(patients.named(tx, "MRN1")) == 1
    assert len({order.patient_row for order in feed.orders()}) == 1
