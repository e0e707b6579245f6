"""A performed procedure step: what a machine says it is doing, has done, or has given up."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from gateway.model.ids import OrderId, Uid
from gateway.model.lifecycle import Step

PerformedId = NewType("PerformedId", int)


class PerformedState(StrEnum):
    """Source: DICOM PS3.4 F.7.1, Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


FINISHED = frozenset({PerformedState.COMPLETED, PerformedState.DISCONTINUED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """One scheduled step that the machine worked on, as it names it; empty where it does not."""

    study_uid: Uid
    accession: str = ""
    step_id: str = ""
    procedure_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeObject:
    """An object that the machine says it made."""

    sop_uid: Uid
    sop_class: str
    series_uid: str
    is_image: bool  # False: a report or another object without a picture, such as a dose report


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one N-CREATE or N-SET says; None is "not said", so that it changes nothing."""

    state: PerformedState | None = None
    begun: datetime | None = None
    ended: datetime | None = None
    objects: tuple[MadeObject, ...] | None = None
    dose: tuple[tuple[str, str], ...] = ()  # keyword and value of the radiation dose, as they stood
    discontinued_because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the N-CREATE alone may say. Source: DICOM PS3.4 table F.7.2-1."""

    sop_uid: Uid
    calling_ae: str
    station: str  # Performed Station AE Title
    modality: str
    step_id: str  # Performed Procedure Step ID
    description: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: str
    sex: str
    steps: tuple[Scheduled, ...]  # never empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message's data set as it came."""

    verb: str  # "N-CREATE", "N-SET"
    transfer_syntax: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedStep:
    """A scheduled step beside the order that it was found to be; None when no order is known for it."""

    step: Scheduled
    order_id: OrderId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """A stored performed step."""

    id: PerformedId
    begun_as: Begun
    state: PerformedState
    begun: datetime | None
    ended: datetime | None
    dose: tuple[tuple[str, str], ...]
    discontinued_because: str
    doubt: str  # why a person should look at it; "" when there is no doubt
    links: tuple[LinkedStep, ...]
    object_count: int
    created_at: datetime
    updated_at: datetime


def step_for(states: Iterable[PerformedState]) -> Step | None:
    """What the performed steps of one order, all together, do to it; None without any.

    It goes on while one is in progress. One that was completed outweighs others that were given up.
    """
    found = frozenset(states)
    if PerformedState.IN_PROGRESS in found:
        return Step.START
    if PerformedState.COMPLETED in found:
        return Step.COMPLETE
    return Step.DISCONTINUE if found else None
