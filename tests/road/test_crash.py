"""What was acknowledged is there after the gateway was killed at any moment."""

import gc
import json
import random
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association

from gateway.store.files import Files


def _push(
    say: Callable[[bytes], list[bytes]], order: Callable[..., bytes], sender: int, taken: list[str]
) -> None:
    for number in range(10_000):
        accession = f"{sender}X{number}"
        try:
            (answer,) = say(order(accession, patient_id=f"M{accession}"))
        except OSError:
            return
        if b"MSA|AA|" in answer:
            taken.append(accession)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_acknowledged_order_is_lost_or_doubled_when_the_gateway_is_killed(
    serve: Callable[..., Any], order: Callable[..., bytes], seed: int
) -> None:
    gateway = serve()
    taken: list[str] = []
    senders = [
        threading.Thread(target=_push, args=(gateway.say_hl7, order, sender, taken)) for sender in range(4)
    ]
    for sender in senders:
        sender.start()
    time.sleep(random.Random(seed).uniform(0.5, 2.0))
    gateway.kill()
    for sender in senders:
        sender.join()
    gateway.start()
    listed = gateway.command("orders", "list", "--json").stdout.splitlines()
    stored = [json.loads(line)["accession"] for line in listed]
    with sqlite3.connect(gateway.config.parent / "gateway.db") as database:
        kept = [row[0] for row in database.execute("SELECT accession FROM orders")]
    database.close()
    assert len(taken) > 5
    assert stored
    assert set(taken) <= set(kept)
    assert len(kept) == len(set(kept))
    assert gateway.say_hl7(order(taken[0], patient_id=f"M{taken[0]}"))[0].count(b"MSA|AA|") == 1


def test_messages_answered_before_they_are_mapped_survive_a_kill_and_are_mapped_once(
    serve: Callable[..., Any], order: Callable[..., bytes]
) -> None:
    (port,) = _free(1)
    gateway = serve(f'[hl7.listeners.fast]\nport = {port}\nack = "after-commit"\n')
    taken: list[str] = []

    def say(message: bytes) -> list[bytes]:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            return [_ask(connection, message)]

    senders = [threading.Thread(target=_push, args=(say, order, sender, taken)) for sender in range(4)]
    for sender in senders:
        sender.start()
    time.sleep(1.0)
    gateway.kill()
    for sender in senders:
        sender.join()
    database = gateway.config.parent / "gateway.db"
    _, mapped = _stored(database)
    assert len(taken) > 5
    assert set(taken) - set(mapped), "everything was mapped before the kill"
    gateway.start()
    until = time.monotonic() + 60
    while not set(taken) <= set(mapped) and time.monotonic() < until:
        time.sleep(0.2)
        _, mapped = _stored(database)
    assert set(taken) <= set(mapped)
    assert len(mapped) == len(set(mapped))


def _free(count: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in opened]
    for one in opened:
        one.close()
    return ports


def _ask(connection: socket.socket, message: bytes) -> bytes:
    connection.sendall(b"\x0b" + message + b"\x1c\r")
    received = b""
    while not received.endswith(b"\x1c\r"):
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionError("closed before an answer")
        received += chunk
    return received[1:-2]


@dataclass
class _Sender:
    """A RIS with one connection, that opens another when it is lost. Every third message carries two orders."""

    number: int
    port: int
    make: Callable[..., bytes]
    stop: threading.Event
    answers: dict[str, bytes] = field(default_factory=dict)  # control id -> what was answered
    owed: dict[str, bytes] = field(default_factory=dict)  # control id -> a message that got no answer
    orders: dict[str, list[str]] = field(default_factory=dict)  # control id -> accession numbers

    def push(self) -> None:
        count = 0
        while not self.stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                    while not self.stop.is_set():
                        count += 1
                        self._say(connection, count)
            except OSError:
                time.sleep(0.05)

    def _say(self, connection: socket.socket, count: int) -> None:
        accession = f"{self.number}C{count}"
        message = self.make(accession, patient_id=f"M{accession}")
        self.orders[f"C{accession}"] = [accession]
        if count % 3 == 0:
            other = self.make(f"{accession}B").split(b"\r", 2)[2]
            message, self.orders[f"C{accession}"] = message + other, [accession, f"{accession}B"]
        self.owed[f"C{accession}"] = message
        self.answers[f"C{accession}"] = _ask(connection, message)
        del self.owed[f"C{accession}"]


def _stored(path: Path) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Control id and answer of each message in the inbox, and the accession number of each order."""
    with sqlite3.connect(path) as database:
        messages = list(database.execute("SELECT control_id, answer FROM messages"))
        orders = [row[0] for row in database.execute("SELECT accession FROM orders")]
    database.close()
    return messages, orders


def test_eight_senders_and_a_gateway_killed_at_random_leave_each_message_exactly_once(
    serve: Callable[..., Any], order: Callable[..., bytes]
) -> None:
    gateway, chance, stop = serve(), random.Random(4), threading.Event()
    senders = [_Sender(number, gateway.hl7, order, stop) for number in range(8)]
    threads = [threading.Thread(target=sender.push) for sender in senders]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(chance.uniform(0.3, 1.2))
        gateway.kill()
        gateway.start()
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join(40)
    database = gateway.config.parent / "gateway.db"
    answers = {control: answer for sender in senders for control, answer in sender.answers.items()}
    owed = {control: message for sender in senders for control, message in sender.owed.items()}
    wanted = {control: names for sender in senders for control, names in sender.orders.items()}

    messages, orders = _stored(database)
    assert len(answers) > 50
    assert owed, "no kill met a message in hand"
    assert [answer for answer in answers.values() if b"MSA|AA|" not in answer] == []
    kept = dict(messages)
    assert Counter(control for control, _ in messages).most_common(1)[0][1] == 1
    assert {control: kept.get(control) for control in answers} == answers
    assert Counter(orders).most_common(1)[0][1] == 1
    assert {name for control in answers for name in wanted[control]} <= set(orders)
    # What the inbox holds has its orders, acknowledged or not.
    assert {name for control in kept for name in wanted[control]} == set(orders)

    with socket.create_connection(("127.0.0.1", gateway.hl7), timeout=30) as connection:
        again = {control: _ask(connection, message) for control, message in owed.items()}
    assert [answer for answer in again.values() if b"MSA|AA|" not in answer] == []
    messages, orders = _stored(database)
    assert Counter(control for control, _ in messages) == Counter(wanted.keys())
    assert Counter(orders) == Counter(name for names in wanted.values() for name in names)


def _image(number: int) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = SecondaryCaptureImageStorage
    image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID = "1.2.3.4"
    image.SeriesInstanceUID = "1.2.3.4.5"
    image.PatientID = "MRN1"
    image.Modality = "US"
    image.InstanceNumber = number
    image.Rows, image.Columns, image.SamplesPerPixel = 256, 256, 1
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation, image.PhotometricInterpretation = 7, 0, "MONOCHROME2"
    image.PixelData = random.Random(number).randbytes(65536)
    return image


def _let_go(association: Association) -> None:
    association.join(20)
    association.dul.join(20)


# pynetdicom leaves the socket of a lost connection to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_acknowledged_image_is_lost_when_the_gateway_is_killed(serve: Callable[..., Any]) -> None:
    gateway = serve()
    taken: dict[str, bytes] = {}
    associations: list[Association] = []

    def push() -> None:
        machine = AE("US1")
        machine.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
        association = machine.associate("127.0.0.1", gateway.storage)
        associations.append(association)
        for number in range(10_000):
            image = _image(number)
            if not association.is_established:
                return
            try:
                status = association.send_c_store(image)
            except RuntimeError:
                return
            if status and status.Status == 0:
                taken[image.SOPInstanceUID] = image.PixelData

    machine = threading.Thread(target=push)
    machine.start()
    time.sleep(2)
    gateway.kill()
    machine.join()
    while associations:
        _let_go(associations.pop())
    gc.collect()
    gateway.start()
    files = Files(gateway.config.parent / "images")
    with sqlite3.connect(gateway.config.parent / "gateway.db") as database:
        kept = dict(database.execute("SELECT sop_uid, path FROM instances"))
    database.close()
    assert len(taken) > 3
    for sop_uid, pixels in taken.items():
        assert files.path(kept[sop_uid]).read_bytes().endswith(pixels)
    for path in kept.values():
        assert files.path(path).exists()
    assert list(files.incoming.iterdir()) == []
