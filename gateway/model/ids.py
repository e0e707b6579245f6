"""Identifiers as types of their own, and the UIDs the gateway makes."""

from typing import NewType
from uuid import UUID

MessageId = NewType("MessageId", int)
PatientRow = NewType("PatientRow", int)
MergeId = NewType("MergeId", int)
OrderId = NewType("OrderId", int)
StudyId = NewType("StudyId", int)
SeriesId = NewType("SeriesId", int)
InstanceId = NewType("InstanceId", int)
DeliveryId = NewType("DeliveryId", int)
UserId = NewType("UserId", int)
TokenId = NewType("TokenId", int)

Uid = NewType("Uid", str)
"""A DICOM unique identifier: digits and dots, at most 64 characters (DICOM PS3.5 9.1)."""

MAX_UID = 64


def uid_from_uuid(uuid: UUID) -> Uid:
    """The UID that a UUID stands for, under the root 2.25. Source: DICOM PS3.5 B.2."""
    return Uid(f"2.25.{uuid.int}")


def is_uid(text: str) -> bool:
    """Whether `text` is a legal UID: components without leading zeros, 64 characters. Source: DICOM PS3.5 9.1."""
    if not 0 < len(text) <= MAX_UID:
        return False
    return all(
        part.isascii() and part.isdigit() and (part == "0" or part[0] != "0") for part in text.split(".")
    )
