"""What was acknowledged is there after the gateway was killed at any moment."""

import gc
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable
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
