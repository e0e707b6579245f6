"""The objects an ultrasound machine makes of one examination: stills, a short loop and what they have in common."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from gateway.model.ids import Uid
from gateway.simulate.pictures import AORTA, KIDNEY, LIVER, Pixels, labelled, sector

WIDTH, HEIGHT = 640, 480
LOOP_FRAMES = 12
FRAME_MS = 66.0

_NO_NAME = "No^Name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a machine's worklist, as DICOM text; empty is absent or empty."""

    patient_name: str = ""
    patient_id: str = ""
    issuer: str = ""
    birth_date: str = ""
    sex: str = ""
    accession: str = ""
    study_uid: str = ""
    procedure_id: str = ""
    description: str = ""
    referring: str = ""
    step_id: str = ""
    step_description: str = ""
    station: str = ""
    modality: str = ""
    start_date: str = ""
    start_time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One examination at the machine. `now` is aware, in the machine's own zone."""

    entry: Entry
    now: datetime
    new_uid: Callable[[], Uid]
    study_uid: str  # the entry's, or one the machine made


def images(session: Session) -> tuple[Dataset, ...]:
    """A colour still, a grey still in RLE and a loop of JPEG frames, in one series."""
    series_uid = session.new_uid()
    return (
        _kidney(session, series_uid),
        _liver(session, series_uid),
        _aorta(session, series_uid),
    )


def common(
    session: Session, *, sop_class: str, modality: str, series_uid: str, series: int, number: int
) -> Dataset:
    """A new object of the examination: patient, study, series and equipment are filled from the worklist entry.

    Source: DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1.
    """
    entry, now = session.entry, session.now
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = UID(sop_class)
    ds.SOPInstanceUID = UID(session.new_uid())
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = f"{now:%Y%m%d}"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = f"{now:%H%M%S}"
    ds.TimezoneOffsetFromUTC = f"{now:%z}"
    ds.AccessionNumber = entry.accession
    ds.Modality = modality
    ds.Manufacturer, ds.ManufacturerModelName = "Simulated", "Fan 1"
    ds.StationName, ds.SoftwareVersions = entry.station or "US", "1"
    ds.ReferringPhysicianName = entry.referring
    ds.StudyDescription = entry.description
    ds.PatientName, ds.PatientID = entry.patient_name or _NO_NAME, entry.patient_id
    if entry.issuer:
        ds.IssuerOfPatientID = entry.issuer
    ds.PatientBirthDate, ds.PatientSex = entry.birth_date, entry.sex
    ds.StudyInstanceUID, ds.SeriesInstanceUID = session.study_uid, series_uid
    ds.StudyID = entry.procedure_id or "1"
    ds.SeriesNumber, ds.InstanceNumber = series, number
    return ds


def with_meta(ds: Dataset, transfer_syntax: str) -> Dataset:
    """The same object, with the file meta information that storing needs."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    ds.file_meta = meta
    return ds


def _kidney(session: Session, series_uid: str) -> Dataset:
    grey = sector(KIDNEY, seed=_seed(session, 1), width=WIDTH, height=HEIGHT)
    pixels = labelled(grey, ("RIGHT KIDNEY", "Length  10.5 cm"), KIDNEY[0])
    ds = _picture(session, series_uid, 1, pixels, samples=3)
    ds.PixelData = pixels.tobytes()
    return with_meta(ds, ExplicitVRLittleEndian)


def _liver(session: Session, series_uid: str) -> Dataset:
    grey = sector(LIVER, seed=_seed(session, 2), width=WIDTH, height=HEIGHT)
    labels = ("LIVER  12.4 cm",)
    pixels = labelled(grey, labels).max(axis=2)
    ds = _picture(session, series_uid, 2, pixels, samples=1)
    ds.PixelData = pixels.tobytes()
    with_meta(ds, ExplicitVRLittleEndian)
    ds.compress(RLELossless, generate_instance_uid=False)
    return ds


def _aorta(session: Session, series_uid: str) -> Dataset:
    beats = np.sin(np.linspace(0, 2 * np.pi, LOOP_FRAMES, endpoint=False))
    frames = [
        labelled(
            sector(AORTA, seed=_seed(session, 3), width=WIDTH // 2, height=HEIGHT // 2, beat=float(beat)),
            ("AORTA",),
        )
        for beat in beats
    ]
    ds = _picture(session, series_uid, 3, frames[0], samples=3, sop_class=UltrasoundMultiFrameImageStorage)
    ds.NumberOfFrames = LOOP_FRAMES
    ds.FrameTime = FRAME_MS
    ds.FrameIncrementPointer = 0x00181063  # Frame Time
    ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    coded = [_jpeg(frame) for frame in frames]
    ds.LossyImageCompressionRatio = round(frames[0].nbytes * LOOP_FRAMES / sum(map(len, coded)), 1)
    ds.PixelData = encapsulate(coded)
    ds["PixelData"].VR = "OB"
    return with_meta(ds, JPEGBaseline8Bit)


def _picture(
    session: Session,
    series_uid: str,
    number: int,
    pixels: Pixels,
    *,
    samples: int,
    sop_class: str = UltrasoundImageStorage,
) -> Dataset:
    """Source: DICOM PS3.3 C.7.6.3 and C.8.5.6."""
    ds = common(session, sop_class=sop_class, modality="US", series_uid=series_uid, series=1, number=number)
    ds.SeriesDescription = session.entry.step_description or session.entry.description
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PatientOrientation = ""
    ds.LossyImageCompression = "00"
    ds.SamplesPerPixel = samples
    ds.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
    if samples == 3:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.RequestAttributesSequence = Sequence([_request(session.entry)])
    return ds


def _request(entry: Entry) -> Dataset:
    """Source: DICOM PS3.3 table 10-9, Request Attributes Macro."""
    item = Dataset()
    item.RequestedProcedureID = entry.procedure_id
    item.RequestedProcedureDescription = entry.description
    item.ScheduledProcedureStepID = entry.step_id
    item.ScheduledProcedureStepDescription = entry.step_description
    item.AccessionNumber = entry.accession
    item.StudyInstanceUID = entry.study_uid
    return item


def _jpeg(pixels: Pixels) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=88, subsampling="4:2:2")
    return held.getvalue()


def _seed(session: Session, number: int) -> int:
    """Pictures differ from patient to patient and stay the same for one."""
    return sum(session.entry.accession.encode()) * 10 + number
