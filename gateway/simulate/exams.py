"""Examinations that a hospital plans for today: what the simulated RIS and EHR order."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.model.measurement import Code

AUTHORITY = "GENHOSP"
"""Who issues the patients' numbers."""

_SLOT = timedelta(minutes=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """One examination of one patient, as the department that orders it knows it."""

    patient_id: str
    name: tuple[str, ...]  # family, given, middle
    birth_date: str  # YYYYMMDD
    sex: str  # M F O
    accession: str
    number: str  # the placer's; the filler's is the accession
    code: Code
    modality: str
    start: datetime  # aware
    priority: str  # R or S, HL7 table 0027
    referrer: tuple[str, ...]  # identifier, family, given
    reason: str

    @property
    def person_name(self) -> str:
        """The name as DICOM writes it."""
        return "^".join(self.name)


_PEOPLE = (
    (("MÜLLER", "JÜRGEN"), "19710309", "M", "Flank pain, right"),
    (("OKAFOR", "ADAEZE", "N"), "19880224", "F", "Raised liver enzymes"),
    (("O'NEILL", "SIOBHÁN"), "19950617", "F", "Palpable lump & tenderness"),
    (("NOVÁK", "PETR"), "19480102", "M", "Aortic aneurysm, follow-up"),
    (("LINDQVIST", "ASTRID"), "20011130", "F", "Recurrent infections"),
    (("FERREIRA", "JOÃO", "M"), "19790816", "M", "Hypertension; kidney size?"),
)
_STUDIES = (
    Code(value="USABD", scheme="L", meaning="Ultrasound abdomen & kidneys"),
    Code(value="USLIV", scheme="L", meaning="Ultrasound liver"),
    Code(value="USSOFT", scheme="L", meaning="Ultrasound soft tissue"),
    Code(value="USAOR", scheme="L", meaning="Ultrasound aorta"),
)
_REFERRERS = (("7654", "HOUSE", "GREGORY"), ("8021", "GREY", "MEREDITH"))


def planned(now: datetime, count: int) -> tuple[Exam, ...]:
    """`count` ultrasound examinations of the day of `now`, an aware instant in the hospital's zone.

    They start every twenty minutes from now on and never later than 23:45. Patients and accession numbers follow
    from the date: the same day gives the same orders.
    """
    return tuple(_exam(now, number) for number in range(count))


def _exam(now: datetime, number: int) -> Exam:
    name, birth_date, sex, reason = _PEOPLE[number % len(_PEOPLE)]
    latest = now.replace(hour=23, minute=45, second=0, microsecond=0)
    start = (now + _SLOT * (number + 1)).replace(second=0, microsecond=0)
    return Exam(
        patient_id=f"MRN{1001 + number}",
        name=name,
        birth_date=birth_date,
        sex=sex,
        accession=f"US{now:%y%m%d}{number + 1:03d}",
        number=f"P{now:%m%d}{number + 1:03d}",
        code=_STUDIES[number % len(_STUDIES)],
        modality="US",
        start=min(start, latest),
        priority="S" if number == 1 else "R",
        referrer=_REFERRERS[number % len(_REFERRERS)],
        reason=reason,
    )
