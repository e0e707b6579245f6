from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.flow.complete import complete_now, complete_quiet
from gateway.flow.keep import Outcome, keep, study_start
from gateway.flow.ports import Ports
from gateway.model.delivery import DeliveryState, Outgoing
from gateway.model.ids import Uid
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.study import Received, Study, StudyState
from gateway.store import orders, outbox, studies

Make = Callable[..., Order]
OBJECT = Received(
    sop_uid=Uid("1.2.3.1.1"), sop_class=Uid("1.2.840.10008.5.1.4.1.1.6.1"), series_uid=Uid("1.2.3.1"),
    study_uid=Uid("1.2.3"), transfer_syntax=Uid("1.2.840.10008.1.2.1"), modality="US", patient_id="MRN1", issuer="",
    patient_name="Doe^Jane", birth_date="19800214", sex="F", accession="A1", study_id="", study_date="20261123",
    study_time="101500", zone_offset="", study_description="", series_number="1", series_description="",
    instance_number="1", frames=1, calling_ae="US1",
)  # fmt: skip


def _keep(ports: Ports, received: Received = OBJECT, content: bytes = b"image", sha256: str = "") -> Outcome:
    written = ports.files.incoming / f"{received.sop_uid}.part"
    written.write_bytes(content)
    return keep(ports, received, written, sha256=sha256 or content.hex(), size=len(content))


def _study(ports: Ports, uid: str = "1.2.3") -> Study:
    with ports.database.read() as tx:
        found = studies.of_uid(tx, Uid(uid))
    assert found is not None
    return found


def _order(ports: Ports, order: Order) -> Order:
    with ports.database.read() as tx:
        return orders.show(tx, order.id)


def _news(study: Study, found: tuple[Order, ...]) -> tuple[Outgoing, ...]:
    order_id = found[0].id if found else None
    count = str(study.instance_count).encode()
    return (
        Outgoing(
            destination="ehr", kind="ImagingStudy", key=study.study_uid, order_id=order_id, payload=count
        ),
    )


def test_a_kept_object_is_on_disk_and_recorded_and_nothing_is_left_behind(ports: Ports) -> None:
    assert _keep(ports) is Outcome.NEW
    ((instance,),) = (part.instances for part in _study(ports).series)
    assert ports.files.path(instance.path).read_bytes() == b"image"
    assert list(ports.files.incoming.iterdir()) == []


def test_the_same_object_again_changes_nothing(ports: Ports) -> None:
    _keep(ports)
    assert _keep(ports) is Outcome.REPEAT
    assert _study(ports).instance_count == 1
    assert list(ports.files.incoming.iterdir()) == []


def test_another_object_under_a_known_uid_leaves_the_first_untouched(ports: Ports) -> None:
    _keep(ports)
    assert _keep(ports, content=b"other") is Outcome.DIFFERENT
    ((instance,),) = (part.instances for part in _study(ports).series)
    assert ports.files.path(instance.path).read_bytes() == b"image"


def test_an_object_that_cannot_be_recorded_leaves_nothing_on_disk(ports: Ports) -> None:
    broken = replace(OBJECT, frames=None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"NULL|null"):
        _keep(ports, broken)
    assert [path for path in ports.files.path("").rglob("*") if path.is_file()] == []


def test_a_repeat_of_an_object_lost_from_the_disk_brings_it_back(ports: Ports) -> None:
    _keep(ports)
    ((instance,),) = (part.instances for part in _study(ports).series)
    ports.files.discard(instance.path)
    assert _keep(ports) is Outcome.REPEAT
    assert ports.files.path(instance.path).read_bytes() == b"image"


def test_hostile_uids_stay_inside_the_folder(ports: Ports, tmp_path: Path) -> None:
    hostile = replace(OBJECT, study_uid=Uid("../../../etc"), sop_uid=Uid("/" * 64))
    written = ports.files.incoming / "a.part"
    written.write_bytes(b"image")
    keep(ports, hostile, written, sha256="0", size=5)
    ((instance,),) = (part.instances for part in _study(ports, "../../../etc").series)
    assert ports.files.path(instance.path).resolve().is_relative_to((tmp_path / "images").resolve())


def test_images_are_linked_by_their_study_uid_and_start_the_order(ports: Ports, order_factory: Make) -> None:
    order = order_factory(study_uid="1.2.3", accession="other")
    _keep(ports)
    assert (_study(ports).order_id, _study(ports).doubt) == (order.id, "")
    assert _order(ports, order).state is State.STARTED


def test_images_are_linked_by_accession_and_patient_when_the_machine_made_its_own_uid(
    ports: Ports, order_factory: Make
) -> None:
    order = order_factory()
    _keep(ports)
    assert _study(ports).order_id == order.id


def test_an_accession_alone_links_nothing(ports: Ports, order_factory: Make) -> None:
    order = order_factory(patient_id="MRN2")
    _keep(ports)
    assert (_study(ports).order_id, _order(ports, order).state) == (None, State.SENT)


def test_another_patient_under_an_orders_study_uid_is_a_doubt_and_not_linked(
    ports: Ports, order_factory: Make
) -> None:
    order = order_factory(study_uid="1.2.3", patient_id="MRN2")
    _keep(ports)
    _keep(ports, replace(OBJECT, sop_uid=Uid("1.2.3.1.2"), patient_id="MRN2"))
    assert _study(ports).order_id is None
    assert "another patient" in _study(ports).doubt
    assert _order(ports, order).state is State.SENT
    ports.clock.advance(seconds=61)  # type: ignore[attr-defined]
    complete_quiet(ports, _news)
    with ports.database.read() as tx:
        assert outbox.newest(tx) == ()


def test_images_for_a_cancelled_order_are_kept_and_shown(ports: Ports, order_factory: Make) -> None:
    order = order_factory(study_uid="1.2.3", state=State.CANCELLED)
    _keep(ports)
    assert (_study(ports).order_id, "cancelled" in _study(ports).doubt) == (order.id, True)
    assert _order(ports, order).state is State.CANCELLED


def test_of_two_steps_only_the_one_of_that_machine_starts(ports: Ports, order_factory: Make) -> None:
    ct = order_factory(study_uid="1.2.3", modality="CT", station="CT1", ScheduledProcedureStepID="S1")
    us = order_factory(study_uid="1.2.3", ScheduledProcedureStepID="S2")
    _keep(ports)
    assert (_order(ports, ct).state, _order(ports, us).state) == (State.SENT, State.STARTED)


def test_a_quiet_study_is_complete_its_order_done_and_the_news_owed(
    ports: Ports, order_factory: Make
) -> None:
    order = order_factory(study_uid="1.2.3")
    _keep(ports)
    ports.clock.advance(seconds=59)  # type: ignore[attr-defined]
    assert complete_quiet(ports, _news) == 0
    ports.clock.advance(seconds=1)  # type: ignore[attr-defined]
    assert complete_quiet(ports, _news) == 1
    assert complete_quiet(ports, _news) == 0
    assert (_study(ports).state, _order(ports, order).state) == (StudyState.COMPLETE, State.COMPLETED)
    with ports.database.read() as tx:
        (owed,) = outbox.newest(tx)
    assert (owed.order_id, owed.payload, owed.state) == (order.id, b"1", DeliveryState.PENDING)


def test_late_images_bring_the_news_again(ports: Ports, order_factory: Make) -> None:
    order = order_factory(study_uid="1.2.3")
    _keep(ports)
    complete_now(ports, _study(ports).id, _news, actor="user:anna")
    _keep(ports, replace(OBJECT, sop_uid=Uid("1.2.3.1.2")), content=b"second")
    ports.clock.advance(seconds=61)  # type: ignore[attr-defined]
    assert complete_quiet(ports, _news) == 1
    assert _order(ports, order).state is State.COMPLETED
    with ports.database.read() as tx:
        assert [owed.payload for owed in outbox.newest(tx)] == [b"2", b"1"]


@pytest.mark.parametrize(
    ("date", "time", "offset", "expected"),
    [
        ("20260715", "101500", "", "2026-07-15T09:15:00+00:00"),  # British Summer Time
        ("20260715", "101500", "+0200", "2026-07-15T08:15:00+00:00"),
        ("20261123", "101500.123", "", "2026-11-23T10:15:00+00:00"),
        ("20261123", "1015", "", "2026-11-23T10:15:00+00:00"),
        ("20261123", "", "", None),
        ("20261399", "101500", "", None),
        ("", "101500", "", None),
    ],
)
def test_a_study_starts_when_its_header_says(
    ports: Ports, date: str, time: str, offset: str, expected: str | None
) -> None:
    received = replace(OBJECT, study_date=date, study_time=time, zone_offset=offset)
    start = study_start(received, ports.zone)
    assert (start.isoformat() if start else None) == expected
