"""Modules drafted from messages of our own and of others: each loads without faults and meets its example."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.commands.modules import draft, trial_folder
from gateway.mapping.fhir_paths import Graph
from gateway.mapping.groups import order_groups
from gateway.mapping.registry import Modules
from gateway.mapping.replay import Readable
from gateway.model.errors import GatewayError, Invalid
from gateway.stored import read_messages

ROOT = Path(__file__).parents[2]
CORPORA = ROOT.parent / "shared" / "corpora"
SITE = {"timezone": "Europe/London"}
FILES = sorted(
    path
    for path in (*(ROOT / "fixtures").rglob("*.hl7"), *(ROOT / "fixtures" / "fhir").glob("*.json"))
    if not path.name.endswith(".order.json")
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with trial_folder(ROOT / "mappings") as copy:
        yield copy


def drafted(readable: Readable, folder: Path) -> str:
    """The draft, once more read as a stranger would: from its file, beside the shipped modules."""
    text = draft(readable, folder, lambda at: Modules.load(at, site=SITE))
    (folder / "draft.yaml").write_text(text, encoding="utf-8")
    modules = Modules.load(folder, site=SITE)
    assert modules.faults == (), text
    assert any(modules.module(name).mark.file == "draft.yaml" for name in modules.names)
    (folder / "draft.yaml").unlink()
    return text


def orders_of(path: Path) -> Iterator[Readable]:
    """The messages of a file that hold a patient and an order."""
    try:
        for readable in read_messages(path):
            content = readable.content
            if isinstance(content, Graph):
                if content.orders:
                    yield readable
            elif any(
                {"ORC", "OBR"} & group.own.keys() and group.shared.get("PID")
                for group in order_groups(content)
            ):
                yield readable
    except GatewayError:
        return


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_draft_of_a_fixture_is_proved(folder: Path, path: Path) -> None:
    for readable in orders_of(path):
        drafted(readable, folder)


@pytest.mark.corpora
@pytest.mark.skipif(not CORPORA.is_dir(), reason="the shared corpora are not here")
@pytest.mark.parametrize("kind", ["hl7", "fhir"])
def test_a_draft_of_others_messages_is_proved(folder: Path, kind: str) -> None:
    paths = [path for path in sorted((CORPORA / kind).rglob("*")) if path.is_file()]
    found = [readable for path in paths for readable in list(orders_of(path))[:2]]
    sample = found[:: max(1, len(found) // 60)]
    assert len(sample) > 20
    refusals = []
    for readable in sample:
        try:
            drafted(readable, folder)
        except Invalid as refused:
            refusals.append(str(refused))
    no_order = [text for text in refusals if text.startswith("the message holds no order to map")]
    assert len(sample) - len(no_order) > 20
    # one Bundle of appointments and orders holds nothing that tells its sender apart
    assert len(refusals) - len(no_order) <= (kind == "fhir")


def test_what_stands_elsewhere_is_found_and_what_is_nowhere_is_marked(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.hl7"
    path.write_text(
        "MSH|^~\\&|ACME|NORTH|GW|RAD|20261123||ORM^O01|1|P|2.3.1\n"
        "PID|1||MRN1^^^NORTH^MR||DOE^JANE||19800214|F\n"
        "ORC|NW|P1\nOBR|1|P1||USABD^Abdomen^L|||20261124101500|||||||||||||CLN-15|US\n"
    )
    (readable,) = read_messages(path)
    text = drafted(readable, folder)
    assert "match:\n  MSH-3.1: ACME\n  MSH-4.1: NORTH\n" in text
    assert "Modality: {from: OBR-21.1}" in text
    assert "OBR-20.1]}" in text
    assert "OBR-7]}" in text
    assert "# PatientID: found at PID-3[5=MR].1, as in orders-hl7" in text
    assert "# not found: ScheduledStationAETitle" in text
    assert "AccessionNumber: CLN-15" in text
    assert "held" not in text


def test_odd_characters_of_a_message_survive_the_draft(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.hl7"
    path.write_bytes(
        "MSH|^~\\&|\"ACME: {x}|'N' # 1|GW|RAD|20261123||ORM^O01|1|P|2.3.1||||||UNICODE UTF-8\r"
        "PID|1||1||M\u00fcller\u0085\U0001f600^J\u2028\r\rORC|NW\rOBR|1||7|X^: - [\\E\\]^L\tx\r".encode()
    )
    (readable,) = read_messages(path)
    drafted(readable, folder)


def test_a_message_without_an_order_gives_no_draft(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.hl7"
    path.write_text("MSH|^~\\&|A|B|C|D|2026||ADT^A08|1|P|2.3\rPID|1||1\r")
    with pytest.raises(Invalid, match="no order"):
        drafted(next(iter(read_messages(path))), folder)
    path.write_text("hello")
    with pytest.raises(Invalid, match="neither an HL7 v2 message"):
        list(read_messages(path))
