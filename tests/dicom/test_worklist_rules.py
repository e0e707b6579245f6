"""The worklist as the site and the machines' profiles want it, over the wire."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE

from gateway.dicom.answering import MODALITY_WORKLIST
from gateway.dicom.machines import Machines
from gateway.dicom.server import DicomServer
from gateway.dicom.worklist import Rules
from gateway.flow.ports import Ports
from gateway.model.order import Order
from gateway.store import orders, patients

Make = Callable[..., Order]
Keys = Callable[..., Dataset]
Find = Callable[..., tuple[list[int], list[Dataset]]]
Serve = Callable[..., DicomServer]


@pytest.fixture
def serve(ports: Ports, tmp_path: Path) -> Iterator[Serve]:
    """A server with a profile `own` for US1, of those lines, and other rules."""
    running: list[DicomServer] = []

    def begin(profile: str = "", **rules: Any) -> DicomServer:
        folder = tmp_path / "machines"
        folder.mkdir(exist_ok=True)
        (folder / "own.yaml").write_text(f"profile: own\nabout: x\n{profile}\n", encoding="utf-8")
        machines = Machines(folder, {"US1": "own"})
        assert machines.faults == ()
        server = DicomServer(
            ports, ae_title="G", bind="127.0.0.1", worklist_port=0, storage_port=0,
            rules=Rules(machines=machines, **rules),
        )  # fmt: skip
        server.start()
        running.append(server)
        return server

    yield begin
    for server in running:
        server.close()


def _ask(server: DicomServer, keys: Dataset, *, ae_title: str = "US1") -> tuple[list[int], list[Dataset]]:
    """The status of each response, and the identifiers."""
    ae = AE(ae_title)
    ae.add_requested_context(MODALITY_WORKLIST, [ImplicitVRLittleEndian])
    association = ae.associate("127.0.0.1", server.worklist_port)
    assert association.is_established
    replies = list(association.send_c_find(keys, MODALITY_WORKLIST))
    association.release()
    return [status.Status for status, _ in replies], [found for _, found in replies if found is not None]


def _accessions(found: tuple[list[int], list[Dataset]]) -> list[str]:
    assert found[0][-1] == 0x0000
    return sorted(str(match.AccessionNumber) for match in found[1])


def test_a_list_ends_with_out_of_resources_at_the_sites_limit(
    serve: Serve, order_factory: Make, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        order_factory(accession=f"A{number}")
    server = serve(max_results=3)
    with caplog.at_level(logging.WARNING, "gateway"):
        statuses, matches = _ask(server, keys(AccessionNumber=""))
    assert (statuses, len(matches)) == ([0xFF00, 0xFF00, 0xFF00, 0xA700], 3)
    (record,) = [record for record in caplog.records if record.message == "worklist.limit"]
    assert (vars(record)["answers"], vars(record)["left_out"]) == (3, 1)
    assert _accessions(_ask(server, keys(AccessionNumber=["A0", "A1", "A2"]))) == ["A0", "A1", "A2"]


def test_a_machines_own_limit_may_end_its_list_without_a_fault(
    serve: Serve, order_factory: Make, keys: Keys
) -> None:
    for number in range(4):
        order_factory(accession=f"A{number}")
    server = serve("answers: {limit: 2, beyond_limit: end, pending: FF01}", max_results=3)
    assert _ask(server, keys(AccessionNumber=""))[0] == [0xFF01, 0xFF01, 0x0000]
    assert _ask(server, keys(AccessionNumber=""), ae_title="US2")[0][-1] == 0xA700


def test_one_entry_that_the_machine_cannot_take_is_kept_back_and_the_rest_is_sent(
    serve: Serve, order_factory: Make, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    order_factory(accession="A1", name="Doe^Jane")
    order_factory(accession="A2", name="Secret王^小东", patient_id="M2")
    server = serve("text: {character_sets: [ISO_IR 100]}")
    asked = keys(AccessionNumber="", PatientName="")
    with caplog.at_level(logging.WARNING, "gateway"):
        assert _accessions(_ask(server, asked)) == ["A1"]
        assert _accessions(_ask(server, asked)) == ["A1"]
    assert _accessions(_ask(server, asked, ae_title="US2")) == ["A1", "A2"]
    (record,) = [record for record in caplog.records if record.message == "worklist.kept_back"]
    assert (
        vars(record)["reason"] == "PatientName: cannot be written in a character set that the machine reads"
    )
    assert "Secret" not in caplog.text


def test_names_are_found_more_or_less_where_the_site_wants_it(
    serve: Serve, order_factory: Make, keys: Keys
) -> None:
    order_factory(accession="A1", name="Müller^Jörg")
    order_factory(accession="A2", name="Miller^Jo", patient_id="M2")
    asked = keys(AccessionNumber="", PatientName="jorg mueller")
    assert _accessions(_ask(serve(), asked)) == []
    assert _accessions(_ask(serve(fuzzy_names=True), asked)) == ["A1"]
    assert _accessions(_ask(serve(fuzzy_names=True), keys(AccessionNumber="", PatientName="*"))) == [
        "A1",
        "A2",
    ]


def test_a_machine_with_its_own_day_and_title_gets_them(
    serve: Serve, order_factory: Make, keys: Keys
) -> None:
    order_factory(accession="today")
    order_factory(accession="other", station="US2")
    order_factory(accession="late", start="2026-11-26T10:00:00+00:00")
    server = serve("query: {station: calling, days_after: 1}\nanswers: {station: calling}")
    step = {"ScheduledStationAETitle": "ROOM9", "ScheduledProcedureStepStartDate": ""}
    found = _ask(server, keys(AccessionNumber="", step=step))
    assert _accessions(found) == ["today"]
    assert found[1][0].ScheduledProcedureStepSequence[0].ScheduledStationAETitle == "US1"
    assert _accessions(_ask(server, keys(AccessionNumber="late", step=step))) == ["late"]


def test_only_the_profiles_transfer_syntax_is_accepted(serve: Serve) -> None:
    server = serve("answers: {transfer_syntaxes: implicit}")
    for title, expected in (("US1", ImplicitVRLittleEndian), ("US2", ExplicitVRLittleEndian)):
        ae = AE(title)
        ae.add_requested_context(MODALITY_WORKLIST, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        association = ae.associate("127.0.0.1", server.worklist_port)
        assert association.accepted_contexts[0].transfer_syntax == [expected]
        association.release()


def test_a_question_in_another_zone_is_answered_in_it(serve: Serve, order_factory: Make, keys: Keys) -> None:
    order_factory(accession="night", start="2026-11-23T23:30:00+00:00")
    order_factory(accession="day", start="2026-11-23T10:00:00+00:00")
    order_factory(accession="open", start="2026-11-24")
    step = {"ScheduledProcedureStepStartDate": "20261124", "ScheduledProcedureStepStartTime": "0000-0200"}
    statuses, matches = _ask(serve(), keys(AccessionNumber="", TimezoneOffsetFromUTC="+0200", step=step))
    assert statuses[-1] == 0x0000
    (match,) = [match for match in matches if match.AccessionNumber == "night"]
    begin = match.ScheduledProcedureStepSequence[0]
    assert (begin.ScheduledProcedureStepStartDate, begin.ScheduledProcedureStepStartTime) == (
        "20261124",
        "013000",
    )
    assert match.TimezoneOffsetFromUTC == "+0200"
    assert {str(match.AccessionNumber) for match in matches} == {"night", "open"}
    assert _ask(serve(), keys(AccessionNumber="", TimezoneOffsetFromUTC="soon"))[0] == [0xA900]


def test_an_order_for_several_machines_is_on_the_list_of_each(
    serve: Serve, order_factory: Make, keys: Keys
) -> None:
    order_factory(accession="both", station="US1\\US2")
    server = serve()
    for title in ("US1", "US2"):
        found = _ask(
            server, keys(AccessionNumber="", step={"ScheduledStationAETitle": title}), ae_title=title
        )
        assert _accessions(found) == ["both"]
        assert found[1][0].ScheduledProcedureStepSequence[0].ScheduledStationAETitle == title
    assert _accessions(_ask(server, keys(AccessionNumber="", step={"ScheduledStationAETitle": "US3"}))) == []


def test_an_answer_kept_from_last_time_is_not_given_once_the_order_changed(
    serve: Serve, order_factory: Make, keys: Keys, ports: Ports
) -> None:
    order = order_factory(RequestedProcedureDescription="Liver")
    server = serve()
    asked = keys(PatientName="", RequestedProcedureDescription="")
    assert [m.RequestedProcedureDescription for m in _ask(server, asked)[1]] == ["Liver"]
    changed = {**order.attributes, "RequestedProcedureDescription": "Kidney"}
    with ports.database.write() as tx:
        orders.save(tx, replace(order, attributes=changed))
    assert [m.RequestedProcedureDescription for m in _ask(server, asked)[1]] == ["Kidney"]
    with ports.database.write() as tx:
        patients.save(tx, replace(order.patient, name="Roe^Jane"), ports.clock())
    assert [str(m.PatientName) for m in _ask(server, asked)[1]] == ["Roe^Jane"]


@pytest.mark.dcmtk
def test_dcmdump_reads_what_we_emit(dcmtk: Any, serve: Serve, order_factory: Make, tmp_path: Path) -> None:
    order_factory(name="Müller^Jörg", PregnancyStatus="4", PatientWeight="61.5")
    keys = (
        "-k", "0010,0010", "-k", "0010,1030", "-k", "0010,21C0", "-k", "0010,4000", "-k", "0008,1110",
        "-k", "(0040,0100)[0].Modality=US", "-k", "(0040,0100)[0].ScheduledProcedureStepStartDate",
    )  # fmt: skip
    for encoding in ("-xe", "-xi"):
        folder = tmp_path / encoding
        folder.mkdir()
        call = ("-aet", "US2", "-aec", "G", "127.0.0.1", str(serve().worklist_port))
        assert dcmtk("findscu", "-W", "-X", "-od", folder, encoding, *keys, *call).returncode == 0
        (written,) = folder.iterdir()
        dumped = dcmtk("dcmdump", "+U8", "-q", written)
        assert dumped.returncode == 0
        values = dict(re.findall(r"\(([0-9a-f]{4},[0-9a-f]{4})\) .. ([^#]*?) +#", dumped.stdout))
        assert values["0010,0010"] == "[Müller^Jörg]"
        assert (values["0010,1030"], values["0010,21c0"]) == ("[61.5]", "4")
        assert (values["0008,0060"], values["0040,0002"]) == ("[US]", "[20261123]")
        assert values["0010,4000"] == "(no value available)"
