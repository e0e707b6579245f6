"""How fast images are stored here, beside Orthanc and DCMTK's storescp. Run by `make bench`; it asserts nothing.

The same client (DCMTK's storescu, one association, TCP_NODELAY) sends the same 200 frames of 0.9 MB to each.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage

COUNT = 200
ROUNDS = 3
START_S = 30.0
ROWS, COLUMNS = 480, 640
_PATH = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"  # where Debian puts Orthanc


def main() -> None:
    """Print the median seconds of each receiver, and how many times faster the gateway is than each peer."""
    if shutil.which("storescu") is None:
        print("storage: skipped, DCMTK's storescu is not installed (Debian: dcmtk)")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batches = [_images(folder / f"images{number}", number) for number in range(ROUNDS)]
        receivers: dict[str, Callable[[Path, int], list[str]]] = {
            "gateway": _gateway,
            "Orthanc": _orthanc,
            "storescp": _storescp,
        }
        taken = {}
        for title, command in receivers.items():
            (folder / title).mkdir()
            seconds = _measure(title, command, folder / title, batches)
            if seconds is not None:
                taken[title] = seconds
    _print(taken)


def _print(taken: dict[str, float]) -> None:
    print(
        f"{COUNT} frames of {ROWS * COLUMNS * 3 / 1e6:.1f} MB, one association{'seconds':>12}{'frames/s':>10}"
    )
    for title, seconds in taken.items():
        ratio = f"   the gateway is {seconds / taken['gateway']:.2f} x as fast" if title != "gateway" else ""
        print(f"{title:39}{seconds:12.2f}{COUNT / seconds:10.0f}{ratio}")


def _images(folder: Path, batch: int) -> Path:
    """A folder of ultrasound frames that no other batch has."""
    folder.mkdir()
    noise = random.Random(batch)
    for number in range(COUNT):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = UltrasoundImageStorage
        image.SOPInstanceUID = f"1.2.3.{batch}.1.{number}"
        image.StudyInstanceUID, image.SeriesInstanceUID = f"1.2.3.{batch}", f"1.2.3.{batch}.1"
        image.PatientID, image.PatientName, image.Modality = "MRN1", "Bench^Mark", "US"
        image.InstanceNumber = number
        image.Rows, image.Columns, image.SamplesPerPixel, image.PlanarConfiguration = ROWS, COLUMNS, 3, 0
        image.PhotometricInterpretation, image.PixelRepresentation = "RGB", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
        image.PixelData = noise.randbytes(ROWS * COLUMNS * 3)
        image.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


def _measure(
    title: str, command: Callable[[Path, int], list[str]], folder: Path, batches: list[Path]
) -> float | None:
    """The median seconds of a batch; None when the receiver is not installed."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    words = command(folder, port)
    if shutil.which(words[0], path=_PATH) is None:
        print(f"{title}: skipped, {words[0]} is not installed")
        return None
    with _running(words, folder, port):
        return sorted(_send(port, batch) for batch in batches)[ROUNDS // 2]


@contextmanager
def _running(words: list[str], folder: Path, port: int) -> Iterator[None]:
    environment = os.environ | {"TCP_NODELAY": "1", "PATH": _PATH}
    with (folder / "output.log").open("w") as log:
        process = subprocess.Popen(
            [shutil.which(words[0], path=_PATH) or words[0], *words[1:]],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
        )
    try:
        _wait_for(port)
        yield
    finally:
        process.terminate()
        process.wait(START_S)


def _wait_for(port: int) -> None:
    until = time.monotonic() + START_S
    while subprocess.run(["echoscu", "127.0.0.1", str(port)], capture_output=True, check=False).returncode:
        if time.monotonic() > until:
            raise TimeoutError("the receiver does not answer")
        time.sleep(0.2)


def _send(port: int, batch: Path) -> float:
    words = ["storescu", "-xe", "-aec", "STORESCP", "+sd", "127.0.0.1", str(port), str(batch)]
    start = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env=os.environ | {"TCP_NODELAY": "1"})
    return time.perf_counter() - start


def _gateway(folder: Path, port: int) -> list[str]:
    config = folder / "gateway.toml"
    mappings = Path(__file__).parents[2] / "mappings"
    config.write_text(
        f'[store]\nurl = "sqlite:///{folder}/gateway.db"\nfiles = "{folder}/images"\n'
        f'[dicom]\nbind = "127.0.0.1"\nworklist_port = 0\nstorage_port = {port}\n'
        f'[mappings]\nfolder = "{mappings}"\n[log]\nfile = "{folder}/gateway.log"\n',
        encoding="utf-8",
    )
    return [sys.executable, "-m", "gateway.cli", "serve", "--only", "dicom", "--config", str(config)]


def _orthanc(folder: Path, port: int) -> list[str]:
    config = folder / "orthanc.json"
    settings = {
        "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"), "DicomPort": port,
        "DicomAet": "STORESCP", "HttpServerEnabled": False, "Plugins": [], "DicomAlwaysAllowStore": True,
    }  # fmt: skip
    config.write_text(json.dumps(settings), encoding="utf-8")
    return ["Orthanc", str(config)]


def _storescp(folder: Path, port: int) -> list[str]:
    return ["storescp", "-aet", "STORESCP", "-od", str(folder), str(port)]


if __name__ == "__main__":
    main()
