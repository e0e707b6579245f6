"""Every value of a trace points to the characters it was made of."""

import json
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mapping.bundle import read_graph
from gateway.mapping.explain import Trace, explain, trace
from gateway.mapping.registry import Modules
from gateway.mapping.replay import Readable
from gateway.mapping.spans import er7_span, er7_text, json_nodes
from gateway.model.er7 import read_er7
from gateway.model.order import Place, Provenance

ROOT = Path(__file__).parents[2]
ER7 = (
    "MSH|^~\\&|RIS|HOSP|GW|RAD|2026||ORM^O01|1|P|2.3.1\r"
    "PID|1||A9^^^REGION^PI~MRN1^^^HOSP^MR||DOE&VAN&DOE^JANE||19800214|F\r"
    "ORC|NW|P1|F1||||^^^20260315101500^^R\r"
    "OBR|1|P1|F1|71046^CHEST 2V^C4||||||||||||||ACC1|RP1|||||CR\r"
)


def hl7(text: str) -> Readable:
    return Readable(text=text, content=read_er7(text))


def marked(found: Trace, keyword: str) -> list[str]:
    """The pieces of the message that the attribute was made of."""
    number = next(at for at, entry in enumerate(found.entries) if entry.keyword == keyword)
    return [piece.text for line in found.lines for piece in line.pieces if number in piece.uses]


def test_each_attribute_marks_what_it_was_made_of(modules: Modules) -> None:
    (found,) = explain(modules, hl7(ER7)).traces
    assert marked(found, "PatientID") == ["MRN1"]
    assert marked(found, "IssuerOfPatientID") == ["HOSP"]
    assert marked(found, "AccessionNumber") == ["ACC1"]
    assert marked(found, "ScheduledProcedureStepStartDateTime") == ["20260315101500"]
    assert "".join(marked(found, "PatientName")) == "DOE&VAN&DOE^JANE"
    assert "".join(marked(found, "RequestedProcedureCodeSequence")) == "71046^CHEST 2V^C4"
    assert marked(found, "RequestedProcedureDescription") == ["CHEST 2V"]


def test_the_pieces_are_the_whole_message(modules: Modules) -> None:
    (found,) = explain(modules, hl7(ER7)).traces
    lines = ["".join(piece.text for piece in line.pieces) for line in found.lines]
    assert "\r".join(lines) + "\r" == ER7
    assert [line.number for line in found.lines] == [1, 2, 3, 4]


def test_what_was_empty_before_and_what_is_skipped_is_told(modules: Modules) -> None:
    text = ER7 + "ORC|NW|P2|F2\rOBR|2|P2|F2|CBC||||||||||||||A2||||||LAB\r"
    found = explain(modules, hl7(text))
    assert found.mapped.skipped == ("a laboratory order, not an imaging order",)
    (entry,) = [e for e in found.traces[0].entries if e.keyword == "AccessionNumber"]
    assert entry.empty == ("IPC-1.1",)


def test_a_place_of_another_message_is_not_marked() -> None:
    place = Place(line=4, segment="OBR", field=18, repetition=1, path="OBR-18")
    old = Provenance(keyword="AccessionNumber", value="OLD", place=place, raw="OLD", steps=(), at="m.yaml:1")
    found = trace(hl7(ER7), [old])
    assert found.line_of(0) == 0


def test_a_note_broken_across_lines_keeps_its_place() -> None:
    text = "MSH|^~\\&|A|B\rPID|1||7||first\nsecond^JANE\r"
    message = read_er7(text)
    place = Place(line=2, segment="PID", field=5, repetition=1, component=2)
    span = er7_span(er7_text(text), message, place)
    assert span is not None
    assert er7_text(text)[span.start : span.end] == "JANE"


def test_the_header_counts_its_separator_as_the_first_field() -> None:
    message = read_er7(ER7)
    found = {n: er7_span(er7_text(ER7), message, Place(line=1, segment="MSH", field=n)) for n in (1, 2, 3, 9)}
    assert {n: er7_text(ER7)[s.start : s.end] for n, s in found.items() if s} == {
        1: "|", 2: "^~\\&", 3: "RIS", 9: "ORM^O01",
    }  # fmt: skip


def test_values_of_a_resource_are_marked_in_its_text(modules: Modules) -> None:
    document = json.loads((ROOT / "mappings/examples/contained-patient.json").read_text(encoding="utf-8"))
    readable = Readable(text="", content=read_graph(document), document=document)
    (found,) = explain(modules, readable).traces
    assert marked(found, "AccessionNumber") == ["ACC20260315"]
    assert marked(found, "PatientID") == ["MRN123456"]
    assert '"family": "Doe"' in "\n".join(marked(found, "PatientName"))


@given(st.recursive(st.text() | st.booleans() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(
    st.text(), inner), max_leaves=10))  # fmt: skip
def test_json_is_written_as_it_was_and_every_value_is_where_it_says(document: object) -> None:
    text, nodes = json_nodes(document)
    assert json.loads(text) == document
    for node in nodes:
        if isinstance(node.value, str):
            assert json.loads(f'"{text[node.span.start : node.span.end]}"') == node.value


@given(st.text(alphabet='PID|^~\\&"\r\n\0 0Z', max_size=80))
@settings(max_examples=80)
def test_any_message_can_be_traced(modules: Modules, body: str) -> None:
    readable = hl7(f"MSH|^~\\&|A|B|C|D|2026||ORM^O01|1|P|2.3\rPID|1||7{body}\rORC|NW\rOBR|1{body}")
    for found in explain(modules, readable).traces:
        for line in found.lines:
            assert all(use < len(found.entries) for piece in line.pieces for use in piece.uses)


def test_explaining_a_message_nobody_maps_says_so(modules_of: Callable[..., Modules]) -> None:
    found = explain(modules_of({}), hl7(ER7))
    assert (found.mapped.module, found.traces) == (None, ())
