"""What columns hold as JSON comes back as it was."""

import json

from gateway.model.order import Fault, Place, Provenance, Severity
from gateway.store.rows import read_faults, read_provenance, write_faults, write_provenance

PLACE = Place(line=3, segment="OBR", segment_repetition=2, field=18, path="OBR-18")
TRACES = (
    Provenance(keyword="Modality", value="US", place=PLACE, raw="us", steps=("upper",), at="m.yaml:3"),
    Provenance(keyword="A", value="", place=None, raw="", steps=(), at="", empty=("OBR-18", "OBR-20")),
    Provenance(keyword="B", value="x", place=Place(), raw="", steps=("default",), at="m.yaml:4"),
)
FAULTS = (
    Fault(severity=Severity.HOLD, keyword="A", place=PLACE, code="101", text="absent", at="m.yaml:5"),
    Fault(severity=Severity.WARN, keyword="", place=None, code="103", text="", at=""),
)


def test_a_trace_comes_back_as_it_was() -> None:
    assert read_provenance(json.loads(json.dumps(write_provenance(TRACES)))) == TRACES


def test_faults_come_back_as_they_were() -> None:
    assert read_faults(json.loads(json.dumps(write_faults(FAULTS)))) == FAULTS


def test_a_trace_written_with_every_default_is_still_read() -> None:
    place = {"line": 0, "segment": "", "segment_repetition": 0, "field": 0, "repetition": 0, "component": 0}
    row = {
        "keyword": "A",
        "value": "v",
        "place": {**place, "subcomponent": 0, "path": "X"},
        "raw": "",
        "steps": [],
    }
    (found,) = read_provenance([{**row, "at": "", "empty": []}])
    assert found == Provenance(keyword="A", value="v", place=Place(path="X"), raw="", steps=(), at="")
