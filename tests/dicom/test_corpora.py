"""DCMTK's ten classic worklist items and thirteen queries."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import config
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from gateway.model.order import Order

FOLDER = Path(__file__).parents[2].parent / "shared/corpora/worklist/orthanc-tests/Dcmtk"
LINE = re.compile(r"\s*\(([0-9a-f]{4}),([0-9a-f]{4})\)\s+(?:..|-)\s*(.*)")

pytestmark = [
    pytest.mark.corpora,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the corpora are not beside the repository"),
]

EVERY = frozenset(range(1, 11))
AFTERNOON = frozenset({2, 3, 4, 6, 7, 10})  # Scheduled Procedure Step Start Time from 12:00 on
EXPECTED = dict.fromkeys(range(13), frozenset[int]()) | {
    0: EVERY, 1: EVERY, 3: EVERY, 5: AFTERNOON, 10: EVERY, 11: EVERY,
}  # fmt: skip


def _read_dump(path: Path) -> Dataset:
    """A dump of DCMTK's, with values in brackets or bare."""
    root = Dataset()
    open_items: list[Any] = [root]
    for line in path.read_text("latin-1").splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        tag = int(found[1] + found[2], 16)
        text = f" {found[3]}".split(" #", 1)[0].strip()
        if tag == 0xFFFEE000:
            open_items[-1].append(Dataset())
            open_items.append(open_items[-1][-1])
        elif tag in (0xFFFEE00D, 0xFFFEE0DD):
            open_items.pop()
        elif dictionary_VR(tag) == "SQ":
            element = DataElement(tag, "SQ", [])
            open_items[-1].add(element)
            open_items.append(element.value)
        else:
            value = text[1:-1] if text.startswith("[") else text
            open_items[-1].add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    return root


def _plain(dataset: Dataset) -> dict[str, str]:
    flat: dict[str, str] = {}
    for element in dataset:
        if element.VR == "SQ":
            flat |= _plain(element.value[0]) if element.value else {}
        else:
            parts = element.value if element.VM > 1 else [element.value or ""]
            flat[keyword_for_tag(element.tag)] = "\\".join(str(part) for part in parts)
    return flat


@pytest.fixture
def items(order_factory: Callable[..., Order]) -> dict[str, int]:
    """The number of each item by the Study Instance UID its order got."""
    numbers: dict[str, int] = {}
    for number in EVERY:
        item = _plain(_read_dump(FOLDER / f"Database/wklist{number}.dump"))
        item.pop("SpecificCharacterSet", None)
        day, time = item.pop("ScheduledProcedureStepStartDate"), item.pop("ScheduledProcedureStepStartTime")
        order = order_factory(
            accession=item.pop("AccessionNumber"),
            name=item.pop("PatientName"),
            patient_id=item.pop("PatientID"),
            birth_date=item.pop("PatientBirthDate"),
            sex=item.pop("PatientSex"),
            modality=item.pop("Modality"),
            station=item.pop("ScheduledStationAETitle"),
            study_uid=item.pop("StudyInstanceUID"),
            start=f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}",
            **item,
        )
        numbers[order.study_uid] = number
    return numbers


def _keywords(dataset: Dataset) -> set[str]:
    return {element.keyword for element in dataset} - {"SpecificCharacterSet"}


def test_every_query_finds_exactly_what_ps3_4_says(items: dict[str, int], peer: Any) -> None:
    for number, expected in EXPECTED.items():
        query = _read_dump(FOLDER / f"Queries/wlistqry{number}.dump")
        asked = _keywords(query)
        query.StudyInstanceUID = ""
        status, matches = peer.find(query)
        assert status == 0x0000
        assert {items[match.StudyInstanceUID] for match in matches} == expected, f"query {number}"
        assert len(matches) == len(expected)
        for match in matches:
            assert _keywords(match) == asked | {"StudyInstanceUID"}
