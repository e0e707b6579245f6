"""What a machine was told is durable: its commitment requests, after the gateway was killed at any moment."""

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association
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


def _ask(association: Association, taken: list[str]) -> None:
    for number in range(10_000):
        transaction = f"2.25.{number}"
        try:
            status, _ = association.send_n_action(_asking(transaction), 1, COMMITMENT, INSTANCE)
        except RuntimeError:
            return
        if status.get("Status") != 0:
            return
        taken.append(transaction)


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
    asking = threading.Thread(target=_ask, args=(association, taken))
    asking.start()
    time.sleep(random.Random(1).uniform(1.0, 2.0))
    gateway.kill()
    asking.join()
    association.join(20)
    association.dul.join(20)
    connection.close()  # the library leaves that of a lost connection to the garbage collector, which complains
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
    assert set(taken) <= told
