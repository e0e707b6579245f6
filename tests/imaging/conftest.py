"""Objects to look at: pydicom's own, the corpora's, and some made here."""

import csv
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from gateway.imaging.worker import PictureWorker

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"


@pytest.fixture
def bundled() -> Callable[[str], Path]:
    """The path of one of the images that pydicom's wheel brings; nothing is downloaded."""

    def find(name: str) -> Path:
        path = get_testdata_file(name, read=False, download=False)
        assert isinstance(path, str), f"{name} is not in pydicom's wheel"
        return Path(path)

    return find


@pytest.fixture
def corpora() -> Path:
    if not CORPORA.is_dir():
        pytest.skip("the corpora are not beside the repository")
    return CORPORA


@pytest.fixture
def corpora_rows(corpora: Path) -> Callable[[str], list[dict[str, str]]]:
    """The rows of one of the corpora's index files."""

    def read(name: str) -> list[dict[str, str]]:
        with (corpora / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    return read


@pytest.fixture
def dcmtk_render(tmp_path: Path) -> Callable[..., NDArray[np.uint8]]:
    """What DCMTK makes of the first frame: `window` is its option, "+Wm" the full range, "+Wi 1" the first window."""
    for tool in ("dcmj2pnm", "dcml2pnm", "dcmdump"):
        if shutil.which(tool) is None:
            pytest.skip(f"DCMTK's {tool} is not installed")

    def render(path: Path, window: str = "+Wm") -> NDArray[np.uint8]:
        target = tmp_path / "dcmtk.bmp"
        syntax = subprocess.run(
            ["dcmdump", "+P", "0002,0010", str(path)], capture_output=True, check=False, text=True
        ).stdout
        tool = "dcml2pnm" if "=JPEGLS" in syntax else "dcmj2pnm"
        command = [tool, *window.split(), "+ob", str(path), str(target)]
        subprocess.run(command, capture_output=True, check=True)
        with Image.open(target) as picture:
            return np.asarray(picture)

    return render


@pytest.fixture
def write_image(tmp_path: Path) -> Callable[..., Path]:
    """Writes an object whose frame is `stored`; keyword arguments set or, when None, remove elements."""

    def write(
        stored: NDArray[np.generic], *, syntax: str = ExplicitVRLittleEndian, **elements: object
    ) -> Path:
        dataset = _file_dataset(SecondaryCaptureImageStorage, syntax)
        dataset.Rows, dataset.Columns = stored.shape[:2]
        dataset.SamplesPerPixel = 1 if stored.ndim == 2 else stored.shape[2]
        dataset.PhotometricInterpretation = "MONOCHROME2" if stored.ndim == 2 else "RGB"
        if stored.ndim == 3:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.PixelData = stored.tobytes()
        dataset["PixelData"].VR = "OW"
        return _save(dataset, tmp_path / "image.dcm", elements)

    return write


@pytest.fixture
def write_report(tmp_path: Path) -> Callable[..., Path]:
    """Writes a structured report whose root holds `content`; keyword arguments as for an image."""

    def write(content: list[Dataset], *, syntax: str = ExplicitVRLittleEndian, **elements: object) -> Path:
        dataset = _file_dataset(ComprehensiveSRStorage, syntax)
        dataset.Modality = "SR"
        dataset.ValueType = "CONTAINER"
        dataset.ContentSequence = content
        return _save(dataset, tmp_path / "report.dcm", elements)

    return write


@pytest.fixture
def worker() -> Iterator[PictureWorker]:
    with PictureWorker(time_limit_s=30, max_pixels=10_000_000) as worker:
        yield worker


def _file_dataset(sop_class: UID, syntax: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    return dataset


def _save(dataset: Dataset, path: Path, elements: dict[str, object]) -> Path:
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path
