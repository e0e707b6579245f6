"""The measurements of an examination as a structured report.

An Imaging Measurement Report in the manner of DICOM PS3.16 TID 1500: the language, the procedure, then one
measurement group for each organ, whose numbers are UCUM quantities.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian

from gateway.model.measurement import Code
from gateway.simulate.objects import Session, common, with_meta

CENTIMETRE = Code(value="cm", scheme="UCUM", meaning="cm")
CENTIMETRE_PER_SECOND = Code(value="cm/s", scheme="UCUM", meaning="cm/s")

_RIGHT = Code(value="24028007", scheme="SCT", meaning="Right")
_LEFT = Code(value="7771000", scheme="SCT", meaning="Left")


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One thing measured: the value as decimal text."""

    name: Code
    value: str
    unit: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What was measured of one organ; `side` is None for an organ that has none."""

    label: str
    organ: Code
    side: Code | None
    numbers: tuple[Number, ...]


FINDINGS = (
    Group(
        label="Right kidney",
        organ=Code(value="64033007", scheme="SCT", meaning="Kidney"),
        side=_RIGHT,
        numbers=(
            Number(
                name=Code(value="11836-4", scheme="LN", meaning="Right Kidney length"),
                value="10.5",
                unit=CENTIMETRE,
            ),
            Number(
                name=Code(value="11827-3", scheme="LN", meaning="Right Kidney width"),
                value="4.8",
                unit=CENTIMETRE,
            ),
        ),
    ),
    Group(
        label="Left kidney",
        organ=Code(value="64033007", scheme="SCT", meaning="Kidney"),
        side=_LEFT,
        numbers=(
            Number(
                name=Code(value="11834-9", scheme="LN", meaning="Left Kidney length"),
                value="11.20",
                unit=CENTIMETRE,
            ),
        ),
    ),
    Group(
        label="Liver",
        organ=Code(value="10200004", scheme="SCT", meaning="Liver"),
        side=None,
        numbers=(
            Number(
                name=Code(value="410668003", scheme="SCT", meaning="Length"), value="12.4", unit=CENTIMETRE
            ),
            Number(
                name=Code(value="11726-7", scheme="LN", meaning="Peak Systolic Velocity"),
                value="38.6",
                unit=CENTIMETRE_PER_SECOND,
            ),
        ),
    ),
)
"""What the simulated machine measures in every patient."""


def report(session: Session, pictures: Iterable[Dataset], groups: Iterable[Group] = FINDINGS) -> Dataset:
    """A Comprehensive SR that reports `groups` and names `pictures` as its evidence.

    Source: DICOM PS3.3 A.35.3; PS3.16 TID 1500, 1501.
    """
    ds = common(
        session,
        sop_class=ComprehensiveSRStorage,
        modality="SR",
        series_uid=session.new_uid(),
        series=2,
        number=1,
    )
    ds.SeriesDescription = "Measurements"
    ds.ReferencedPerformedProcedureStepSequence = Sequence([])
    ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    ds.PerformedProcedureCodeSequence = Sequence([])
    ds.ReferencedRequestSequence = Sequence([_request(session)])
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence([_evidence(session, tuple(pictures))])
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = _code(_dcm("126000", "Imaging Measurement Report"))
    ds.ContentTemplateSequence = Sequence([_template("1500")])
    ds.ContentSequence = Sequence(_content(session, tuple(groups)))
    return with_meta(ds, ExplicitVRLittleEndian)


def _content(session: Session, groups: tuple[Group, ...]) -> Iterable[Dataset]:
    english = Code(value="en", scheme="RFC5646", meaning="English")
    yield _coded("HAS CONCEPT MOD", _dcm("121049", "Language of Content Item and Descendants"), english)
    procedure = Code(value="US", scheme="99SIM", meaning=(session.entry.description or "Ultrasound")[:64])
    yield _coded("HAS CONCEPT MOD", _dcm("121058", "Procedure reported"), procedure)
    yield _container(
        "CONTAINS", _dcm("126010", "Imaging Measurements"), [_group(session, group) for group in groups]
    )


def _group(session: Session, group: Group) -> Dataset:
    label = _item("HAS OBS CONTEXT", "TEXT", _dcm("112039", "Tracking Identifier"))
    label.TextValue = group.label
    uid = _item("HAS OBS CONTEXT", "UIDREF", _dcm("112040", "Tracking Unique Identifier"))
    uid.UID = session.new_uid()
    site = _coded(
        "HAS CONCEPT MOD", Code(value="363698007", scheme="SCT", meaning="Finding Site"), group.organ
    )
    if group.side:
        side = _coded(
            "HAS CONCEPT MOD", Code(value="272741003", scheme="SCT", meaning="Laterality"), group.side
        )
        site.ContentSequence = Sequence([side])
    numbers = [_number(number) for number in group.numbers]
    return _container("CONTAINS", _dcm("125007", "Measurement Group"), [label, uid, site, *numbers])


def _number(number: Number) -> Dataset:
    """Source: DICOM PS3.3 C.18.1."""
    measured = Dataset()
    measured.MeasurementUnitsCodeSequence = _code(number.unit)
    measured.NumericValue = number.value
    item = _item("CONTAINS", "NUM", number.name)
    item.MeasuredValueSequence = Sequence([measured])
    return item


def _container(relation: str, name: Code, content: list[Dataset]) -> Dataset:
    item = _item(relation, "CONTAINER", name)
    item.ContinuityOfContent = "SEPARATE"
    item.ContentSequence = Sequence(content)
    return item


def _coded(relation: str, name: Code, value: Code) -> Dataset:
    item = _item(relation, "CODE", name)
    item.ConceptCodeSequence = _code(value)
    return item


def _item(relation: str, kind: str, name: Code) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relation, kind
    item.ConceptNameCodeSequence = _code(name)
    return item


def _code(code: Code) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return Sequence([item])


def _dcm(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="DCM", meaning=meaning)


def _template(identifier: str) -> Dataset:
    item = Dataset()
    item.MappingResource, item.TemplateIdentifier = "DCMR", identifier
    return item


def _request(session: Session) -> Dataset:
    """Source: DICOM PS3.3 C.17.2, Referenced Request Sequence."""
    entry = session.entry
    item = Dataset()
    item.StudyInstanceUID = session.study_uid
    item.ReferencedStudySequence = Sequence([])
    item.AccessionNumber = entry.accession
    item.PlacerOrderNumberImagingServiceRequest = ""
    item.FillerOrderNumberImagingServiceRequest = ""
    item.RequestedProcedureID = entry.procedure_id
    item.RequestedProcedureDescription = entry.description
    item.RequestedProcedureCodeSequence = Sequence([])
    return item


def _evidence(session: Session, pictures: tuple[Dataset, ...]) -> Dataset:
    """Source: DICOM PS3.3 C.17.2.2, one study, one series."""
    series = Dataset()
    series.SeriesInstanceUID = pictures[0].SeriesInstanceUID
    series.ReferencedSOPSequence = Sequence([_reference(picture) for picture in pictures])
    study = Dataset()
    study.StudyInstanceUID = session.study_uid
    study.ReferencedSeriesSequence = Sequence([series])
    return study


def _reference(picture: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = picture.SOPClassUID, picture.SOPInstanceUID
    return item
