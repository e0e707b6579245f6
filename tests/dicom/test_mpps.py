"""Performed procedure steps over the wire: what the machine is answered, what is kept, what becomes of the order."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association

from gateway.dicom.mpps import PERFORMED_STEP
from gateway.flow.complete import complete_quiet
from gateway.flow.ports import Ports
from gateway.model.ids import Uid
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.performed import Performed, PerformedState
from gateway.model.study import StudyState
from gateway.store import audit, orders, performed, studies
from gateway.store.database import Database

if TYPE_CHECKING:
    from tests.conftest import FakeClock
    from tests.dicom.conftest import ObjectMaker, Peer

Make = Callable[..., Order]

UID = "1.2.826.0.1.77"
DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"
BOTH = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


def creation(
    order: Order | None = None, *more: Order, study_uid: str = "1.2.3", **changed: object
) -> Dataset:
    """What a machine says when it begins."""
    said = Dataset()
    said.SpecificCharacterSet = "ISO_IR 192"
    said.ScheduledStepAttributesSequence = [scheduled(one) for one in (order, *more) if one] or [
        scheduled(None, study_uid)
    ]
    said.PatientName = order.patient.name if order else "Walk^In"
    said.PatientID = order.patient.patient_id if order else "TEMP"
    said.PatientBirthDate = "19800214"
    said.PatientSex = "F"
    said.PerformedProcedureStepID = "PPS1"
    said.PerformedStationAETitle = "US1"
    said.PerformedStationName = ""
    said.PerformedLocation = ""
    said.PerformedProcedureStepStartDate = "20261123"
    said.PerformedProcedureStepStartTime = "091500"
    said.PerformedProcedureStepStatus = "IN PROGRESS"
    said.PerformedProcedureStepDescription = "Abdomen"
    said.Modality = "US"
    said.StudyID = ""
    said.PerformedSeriesSequence = []
    for keyword, value in changed.items():
        setattr(said, keyword, value)
    return said


def scheduled(order: Order | None, study_uid: str = "1.2.3") -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = order.study_uid if order else study_uid
    item.ReferencedStudySequence = []
    item.AccessionNumber = order.accession if order else ""
    item.RequestedProcedureID = order.procedure_id if order else ""
    item.ScheduledProcedureStepID = order.step_id if order else ""
    return item


def modification(state: str | None = "COMPLETED", *made: Dataset, **more: object) -> Dataset:
    """What a machine says later."""
    said = Dataset()
    if state is not None:
        said.PerformedProcedureStepStatus = state
        said.PerformedProcedureStepEndDate = "20261123"
        said.PerformedProcedureStepEndTime = "093000.5"
    if made:
        series = Dataset()
        series.SeriesInstanceUID = "1.2.3.1"
        series.ReferencedImageSequence = [_reference(one) for one in made if one.SOPClassUID != DOSE_REPORT]
        series.ReferencedNonImageCompositeSOPInstanceSequence = [
            _reference(one) for one in made if one.SOPClassUID == DOSE_REPORT
        ]
        said.PerformedSeriesSequence = [series]
    for keyword, value in more.items():
        setattr(said, keyword, value)
    return said


def _reference(made: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = made.SOPClassUID
    item.ReferencedSOPInstanceUID = made.SOPInstanceUID
    return item


@pytest.fixture
def link(peer: "Peer") -> Iterator[Association]:
    with peer.associated((PERFORMED_STEP, list(BOTH))) as association:
        yield association


def create(link: Association, said: Dataset, uid: str | None = UID) -> int:
    status, _ = link.send_n_create(said, PERFORMED_STEP, uid)
    return int(status.Status)


def change(link: Association, said: Dataset, uid: str = UID) -> int:
    status, _ = link.send_n_set(said, PERFORMED_STEP, uid)
    return int(status.Status)


def state_of(ports: Ports, order: Order) -> State:
    with ports.database.read() as tx:
        return orders.show(tx, order.id).state


def stored(ports: Ports, uid: str = UID) -> Performed:
    with ports.database.read() as tx:
        found = performed.of_uid(tx, Uid(uid))
    assert found is not None
    return found


def test_an_exam_begun_and_completed_moves_its_order(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    order = order_factory(ScheduledProcedureStepID="S1")
    assert create(link, creation(order)) == 0
    assert state_of(ports, order) is State.STARTED
    assert change(link, modification()) == 0
    assert state_of(ports, order) is State.COMPLETED
    found = stored(ports)
    assert (found.state, found.begun, found.ended) == (
        PerformedState.COMPLETED,
        datetime(2026, 11, 23, 9, 15, tzinfo=UTC),
        datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
    )
    with ports.database.read() as tx:
        trail = audit.of_subject(tx, f"order:{order.id}")
    assert [(e.actor, e.action, e.detail) for e in trail] == [
        ("dicom:US1", "order.start", f"performed:{found.id}"),
        ("dicom:US1", "order.complete", f"performed:{found.id}"),
    ]


def test_an_exam_given_up_discontinues_its_order_and_says_why(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    order = order_factory()
    reason = Dataset()
    reason.CodeValue, reason.CodingSchemeDesignator, reason.CodeMeaning = "110513", "DCM", "Patient died"
    create(link, creation(order))
    said = modification("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=[reason])
    assert change(link, said) == 0
    assert state_of(ports, order) is State.DISCONTINUED
    assert stored(ports).discontinued_because == "Patient died"


def test_the_same_step_twice_is_a_duplicate(ports: Ports, link: Association, order_factory: Make) -> None:
    order = order_factory()
    assert create(link, creation(order)) == 0
    assert create(link, creation(order)) == 0x0111
    with ports.database.read() as tx:
        assert len(performed.letters(tx, stored(ports).id)) == 1
    assert link.is_established


def test_a_step_that_nobody_began_is_unknown_and_may_still_begin(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    order = order_factory()
    assert change(link, modification()) == 0x0112
    assert state_of(ports, order) is State.SENT
    assert create(link, creation(order)) == 0


@pytest.mark.parametrize("last", ["COMPLETED", "DISCONTINUED"])
@pytest.mark.parametrize("then", ["COMPLETED", "DISCONTINUED", "IN PROGRESS", None])
def test_a_finished_step_may_no_longer_be_updated(
    ports: Ports, link: Association, last: str, then: str | None
) -> None:
    create(link, creation())
    assert change(link, modification(last)) == 0
    status, _ = link.send_n_set(
        modification(then, PerformedProcedureStepDescription="x"), PERFORMED_STEP, UID
    )
    assert (status.Status, status.ErrorID) == (0x0110, 0xA710)
    assert stored(ports).state == last


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"PerformedProcedureStepStatus": None}, 0x0120),
        ({"PerformedProcedureStepStatus": ""}, 0x0121),
        ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106),
        ({"PerformedProcedureStepStatus": "BUSY"}, 0x0106),
        ({"ScheduledStepAttributesSequence": None}, 0x0120),
        ({"ScheduledStepAttributesSequence": []}, 0x0121),
        ({"ScheduledStepAttributesSequence": [Dataset()]}, 0x0120),
        ({"PerformedProcedureStepID": None}, 0x0120),
        ({"PerformedStationAETitle": ""}, 0x0121),
        ({"PerformedProcedureStepStartDate": None}, 0x0120),
        ({"Modality": None}, 0x0120),
    ],
)
def test_a_creation_without_what_it_needs_is_refused(
    ports: Ports, link: Association, changed: dict[str, object], code: int
) -> None:
    said = creation()
    for keyword, value in changed.items():
        if value is None:
            delattr(said, keyword)
        else:
            setattr(said, keyword, value)
    assert create(link, said) == code
    with ports.database.read() as tx:
        assert performed.of_uid(tx, Uid(UID)) is None


def test_an_invalid_status_is_refused_and_changes_nothing(ports: Ports, link: Association) -> None:
    create(link, creation())
    assert change(link, modification("FINISHED")) == 0x0106
    assert stored(ports).state is PerformedState.IN_PROGRESS


def test_a_step_without_a_uid_gets_one(ports: Ports, link: Association) -> None:
    status, _ = link.send_n_create(creation(), PERFORMED_STEP, None)
    assert status.Status == 0
    with ports.database.read() as tx:
        (found,) = performed.unscheduled(tx, datetime(2026, 1, 1, tzinfo=UTC))
    assert found.begun_as.sop_uid.startswith("2.25.")
    assert change(link, modification(), found.begun_as.sop_uid) == 0


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_what_was_said_is_kept_byte_for_byte(ports: Ports, peer: "Peer", syntax: str) -> None:
    from pynetdicom.dsutils import encode

    first, second = creation(), modification()
    with peer.associated((PERFORMED_STEP, [syntax])) as link:
        create(link, first)
        change(link, second)
    with ports.database.read() as tx:
        letters = performed.letters(tx, stored(ports).id)
    is_implicit = syntax == ImplicitVRLittleEndian
    assert [(one.verb, one.transfer_syntax, one.content) for one in letters] == [
        ("N-CREATE", syntax, encode(first, is_implicit, True)),
        ("N-SET", syntax, encode(second, is_implicit, True)),
    ]


def test_an_exam_that_nobody_ordered_is_kept_for_a_look(ports: Ports, link: Association) -> None:
    assert create(link, creation(study_uid="1.2.9")) == 0
    with ports.database.read() as tx:
        (found,) = performed.unscheduled(tx, datetime(2026, 1, 1, tzinfo=UTC))
    assert (found.begun_as.patient_name, found.links[0].order_id, found.doubt) == ("Walk^In", None, "")


def test_one_exam_for_several_orders_moves_each(ports: Ports, link: Association, order_factory: Make) -> None:
    first = order_factory(accession="A1", study_uid="1.2.3")
    second = order_factory(accession="A2", study_uid="1.2.4")
    create(link, creation(first, second))
    assert [state_of(ports, one) for one in (first, second)] == [State.STARTED] * 2
    change(link, modification())
    assert [state_of(ports, one) for one in (first, second)] == [State.COMPLETED] * 2


def test_a_sister_step_that_the_machine_did_not_name_stays_on_the_list(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    first = order_factory(study_uid="1.2.3", ScheduledProcedureStepID="S1")
    second = order_factory(study_uid="1.2.3", ScheduledProcedureStepID="S2")
    create(link, creation(second))
    assert (state_of(ports, first), state_of(ports, second)) == (State.SENT, State.STARTED)


def test_a_machine_with_a_study_uid_of_its_own_is_known_by_accession_and_patient(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    order = order_factory(study_uid="1.2.3")
    said = creation(order)
    said.ScheduledStepAttributesSequence[0].StudyInstanceUID = "1.9.9"
    create(link, said)
    assert state_of(ports, order) is State.STARTED


def test_another_patient_than_the_orders_moves_nothing_and_is_shown(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    order = order_factory()
    create(link, creation(order, PatientID="OTHER"))
    assert state_of(ports, order) is State.SENT
    assert "another patient" in stored(ports).doubt


def test_a_cancelled_order_stays_cancelled_and_the_exam_is_shown(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    order = order_factory(state=State.CANCELLED)
    assert create(link, creation(order)) == 0
    assert state_of(ports, order) is State.CANCELLED
    assert "cancelled" in stored(ports).doubt


def test_an_order_goes_on_until_its_last_step_is_done(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    order = order_factory()
    create(link, creation(order), "1.2.1")
    create(link, creation(order), "1.2.2")
    change(link, modification("COMPLETED"), "1.2.1")
    assert state_of(ports, order) is State.STARTED
    change(link, modification("DISCONTINUED"), "1.2.2")
    assert state_of(ports, order) is State.COMPLETED  # something was examined


def test_objects_and_dose_are_linked(ports: Ports, link: Association, make_object: "ObjectMaker") -> None:
    create(link, creation())
    image, report = make_object("1.2.3.4"), make_object("1.2.3.5", SOPClassUID=DOSE_REPORT)
    said = modification(
        "COMPLETED", image, report, TotalNumberOfExposures=7, ImageAndFluoroscopyAreaDoseProduct="1.25"
    )
    assert change(link, said) == 0
    found = stored(ports)
    with ports.database.read() as tx:
        made = performed.objects(tx, found.id)
    assert [(one.sop_uid, one.series_uid, one.is_image) for one in made] == [
        ("1.2.3.4", "1.2.3.1", True),
        ("1.2.3.5", "1.2.3.1", False),
    ]
    assert dict(found.dose) == {
        "TotalNumberOfExposures": "7",
        "ImageAndFluoroscopyAreaDoseProduct": "1.25",
    }


def test_a_completed_exam_completes_its_study_as_soon_as_all_is_here(
    ports: Ports, peer: "Peer", link: Association, order_factory: Make, make_object: "ObjectMaker"
) -> None:
    order = order_factory(study_uid="1.2.3")
    first, second = make_object("1.2.3.4"), make_object("1.2.3.5")
    create(link, creation(order))
    assert peer.store(first) == 0
    assert peer.store(second, port=peer.server.worklist_port) == 0
    _examine_all(ports)
    assert _completed(ports) == 0
    change(link, modification("COMPLETED", first, second))
    assert _completed(ports) == 1
    with ports.database.read() as tx:
        study = studies.of_uid(tx, Uid("1.2.3"))
    assert study is not None
    assert study.state is StudyState.COMPLETE


def test_an_image_that_is_still_on_its_way_is_waited_for_until_the_quiet_time(
    ports: Ports, peer: "Peer", link: Association, clock: "FakeClock", make_object: "ObjectMaker"
) -> None:
    first, second = make_object("1.2.3.4"), make_object("1.2.3.5")
    create(link, creation())
    peer.store(first)
    _examine_all(ports)
    change(link, modification("COMPLETED", first, second))
    assert _completed(ports) == 0
    clock.advance(seconds=61)
    assert _completed(ports) == 1


def test_a_pause_of_a_machine_that_is_at_it_completes_nothing(
    ports: Ports, peer: "Peer", link: Association, clock: "FakeClock", make_object: "ObjectMaker"
) -> None:
    create(link, creation())
    peer.store(make_object("1.2.3.4"))
    clock.advance(seconds=120)
    assert _completed(ports) == 0
    clock.advance(seconds=1800)  # nobody said that it ended: forgotten
    assert _completed(ports) == 1


def test_images_of_an_exam_given_up_are_beyond_doubt(
    ports: Ports, peer: "Peer", link: Association, order_factory: Make, make_object: "ObjectMaker"
) -> None:
    order = order_factory(study_uid="1.2.3")
    create(link, creation(order))
    change(link, modification("DISCONTINUED"))
    peer.store(make_object("1.2.3.4"))
    with ports.database.read() as tx:
        study = studies.of_uid(tx, Uid("1.2.3"))
    assert study is not None
    assert (study.order_id, study.doubt) == (order.id, "")
    assert state_of(ports, order) is State.DISCONTINUED


def test_a_step_that_ends_after_the_quiet_time_did_contradicts_nothing(
    ports: Ports, link: Association, order_factory: Make
) -> None:
    order = order_factory(state=State.COMPLETED)
    assert create(link, creation(order)) == 0
    assert change(link, modification("DISCONTINUED")) == 0
    assert state_of(ports, order) is State.COMPLETED


@pytest.mark.parametrize("port", ["worklist", "storage"])
def test_both_ports_take_it(peer: "Peer", order_factory: Make, ports: Ports, port: str) -> None:
    order = order_factory()
    number = peer.server.worklist_port if port == "worklist" else peer.server.storage_port
    with peer.associated((PERFORMED_STEP, list(BOTH)), port=number) as link:
        assert create(link, creation(order)) == 0
        assert change(link, modification()) == 0
    assert state_of(ports, order) is State.COMPLETED


def test_names_beyond_ascii_are_read_in_their_character_set(ports: Ports, link: Association) -> None:
    create(link, creation(PatientName="Müller^Jürgen"))
    assert stored(ports).begun_as.patient_name == "Müller^Jürgen"


def test_nothing_of_the_patient_reaches_the_log(link: Association, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        create(link, creation(PatientName="Secret^Person", PatientID="HIDDEN"))
        create(link, creation(PatientName="Secret^Person", PatientID="HIDDEN"))
    text = caplog.text + repr([vars(record) for record in caplog.records])
    assert "Secret" not in text
    assert "HIDDEN" not in text


def _completed(ports: Ports) -> int:
    return complete_quiet(ports, lambda *_: ())


def _examine_all(ports: Ports) -> None:
    from gateway.model.study import PictureState

    with ports.database.write() as tx:
        for instance_id, _ in studies.unexamined(tx):
            studies.examined(
                tx, instance_id, picture=PictureState.NONE, thumbnail="", found=(), at=ports.clock()
            )
