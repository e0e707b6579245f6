"""What a machine was told is durable: its commitment requests, after the gateway was killed at any moment."""

import gc
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import decode, encode
from pynetdicom.events import Event

COMMITMENT, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


def _asking(transaction: str) -> Dataset:
    dataset, item = Dataset(), Dataset()
    dataset.TransactionUID = transaction
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        SecondaryCaptureImageStorage,
        f"{transaction}.1",
    )
    dataset.ReferencedSOPSequence = [item]
    return dataset


def _associate(port: int, told: set[str]) -> Association:
    def hear(event: Event) -> tuple[int, None]:
        told.add(event.event_information.TransactionUID)
        return 0x0000, None

    machine = AE("US1")
    machine.dimse_timeout = 5
    machine.add_requested_context(COMMITMENT, ExplicitVRLittleEndian)
    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, hear)]
    return machine.associate("127.0.0.1", port, evt_handlers=handlers)


def _ask(association: Association, taken: list[str], told: set[str]) -> None:
    """Requests one after the other, reports taken in between.

    Done below the library's own calls: those take a report that comes while they wait for the answer.
    """
    association._reactor_checkpoint.clear()
    time.sleep(0.1)  # its own reader stands still now
    context = association.accepted_contexts[0].context_id
    assert context is not None
    for number in range(1, 10_000):
        transaction = f"2.25.{number}"
        association.dimse.send_msg(_request(transaction, number), context)
        status = _answer(association, context, told)
        if status != 0:
            break
        taken.append(transaction)
    association._reactor_checkpoint.set()


def _request(transaction: str, number: int) -> N_ACTION:
    request = N_ACTION()
    request.MessageID = number
    request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = UID(COMMITMENT), UID(INSTANCE)
    request.ActionTypeID = 1
    request.ActionInformation = BytesIO(encode(_asking(transaction), False, True) or b"")
    return request


def _answer(association: Association, context: int, told: set[str]) -> int | None:
    """The status of the answer; None when none came."""
    while True:
        _, message = association.dimse.get_msg(block=True)
        if not isinstance(message, N_EVENT_REPORT):
            return message.Status if isinstance(message, N_ACTION) else None
        assert message.EventInformation is not None
        told.add(decode(message.EventInformation, False, True).TransactionUID)
        heard = N_EVENT_REPORT()
        heard.MessageIDBeingRespondedTo = message.MessageID
        heard.AffectedSOPClassUID = message.AffectedSOPClassUID
        heard.AffectedSOPInstanceUID = message.AffectedSOPInstanceUID
        heard.Status = 0
        association.dimse.send_msg(heard, context)


# The library leaves the socket of a lost connection to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_acknowledged_commitment_request_is_lost_when_the_gateway_is_killed(
    serve: Callable[..., Any],
) -> None:
    gateway = serve()
    taken: list[str] = []
    told: set[str] = set()
    association = _associate(gateway.storage, told)
    wrapper = association.dul.socket
    assert wrapper is not None
    connection = wrapper.socket
    assert connection is not None
    asking = threading.Thread(target=_ask, args=(association, taken, told))
    asking.start()
    time.sleep(random.Random(1).uniform(1.0, 2.0))
    gateway.kill()
    asking.join()
    association.join(20)
    association.dul.join(20)
    connection.close()
    with sqlite3.connect(gateway.config.parent / "gateway.db") as database:
        kept = {row[0] for row in database.execute("SELECT transaction_uid FROM commitments")}
        database.execute("UPDATE commitments SET lease_until = created_at, next_at = created_at")
    database.close()
    assert len(taken) > 5
    assert set(taken) <= kept
    gateway.start()
    again = _associate(gateway.storage, told)
    until = time.monotonic() + 60
    while not set(taken) <= told and time.monotonic() < until:
        time.sleep(0.1)
    again.release()
    gc.collect()
    assert set(taken) <= told
