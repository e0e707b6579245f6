"""Names in the world's character sets, from the RIS to the store, the page and the machine, read by others' code."""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from gateway.simulate.receptionist import Receptionist

MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
PASSWORD = "a long password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A name as a sender writes it, and as everybody must read it."""

    declared: str  # MSH-18
    codec: str
    written: str  # PID-5
    name: str
    machine: str  # the set a machine of that country asks with
    encoding: str  # Python's name of what the machine's bytes are in
    is_odd: bool = False  # the bytes are not what MSH-18 declares


KANJI = "Yamada^Tarou=山田^太郎=やまだ^たろう"
CASES = {
    "latin-9": Case(
        declared="8859/15", codec="iso8859-15", written="ŒUVRARD^ŽOFIE", name="ŒUVRARD^ŽOFIE",
        machine="ISO_IR 192", encoding="utf-8",
    ),
    "cyrillic": Case(
        declared="8859/5", codec="iso8859-5", written="Иванова^Мария", name="Иванова^Мария",
        machine="ISO_IR 144", encoding="iso8859-5",
    ),
    "greek": Case(
        declared="8859/7", codec="iso8859-7", written="Παπαδόπουλος^Γιώργος", name="Παπαδόπουλος^Γιώργος",
        machine="ISO_IR 126", encoding="iso8859-7",
    ),
    "chinese": Case(
        declared="GB 18030-2000", codec="gb18030", written="王^小东㐂", name="王^小东㐂",
        machine="GB18030", encoding="gb18030",
    ),
    "japanese": Case(
        declared="ASCII~ISO IR87", codec="iso2022_jp",
        written="Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P", name=KANJI,
        machine="\\ISO 2022 IR 87", encoding="iso2022_jp",
    ),
    "mislabelled": Case(
        declared="8859/1", codec="cp1252", written="ŠVEREPÁ^ŽOFIE", name="ŠVEREPÁ^ŽOFIE",
        machine="ISO_IR 100", encoding="utf-8", is_odd=True,
    ),
}  # fmt: skip


@pytest.fixture
def gateway(serve: Callable[..., Any]) -> Any:
    served = serve('[worklist]\nrelease = "on_receipt"\n', stations="US1")
    served.command("user", "add", "anna", "--role", "admin", given=f"{PASSWORD}\n")
    return served


def _order(case: Case, number: int) -> bytes:
    today = time.strftime("%Y%m%d")
    return (
        f"MSH|^~\\&|RIS|GENHOSP|GW|RAD|20261123093000||ORM^O01|C{number}|P|2.5.1||||||{case.declared}\r"
        f"PID|1||MRN{number}^^^GENHOSP^MR||{case.written}||19800214|F\r"
        f"ORC|NW|P{number}|F{number}||||^^^{today}101500^^R\r"
        f"OBR|1|P{number}|F{number}|USABD^Abdomen ultrasound^L||||||||||||||A{number}|RP{number}|||||US\r"
    ).encode(case.codec)


def _asked(number: int, machine: str) -> Dataset:
    keys, step = Dataset(), Dataset()
    keys.SpecificCharacterSet = machine.split("\\") if "\\" in machine else machine
    keys.AccessionNumber, keys.PatientName = f"A{number}", ""
    step.Modality, step.ScheduledStationAETitle = "US", "US1"
    keys.ScheduledProcedureStepSequence = [step]
    return keys


def _answer_to_pynetdicom(gateway: Any, number: int, machine: str) -> Dataset:
    ae = AE("US1")
    ae.add_requested_context(MODALITY_WORKLIST)
    association = ae.associate("127.0.0.1", gateway.worklist)
    assert association.is_established
    try:
        asked = _asked(number, machine)
        answers = [found for _, found in association.send_c_find(asked, MODALITY_WORKLIST) if found]
    finally:
        association.release()
    (answer,) = answers
    return answer


def _answer_to_findscu(gateway: Any, number: int, machine: str, folder: Path) -> Path:
    folder.mkdir()
    asked = ("-k", f"0008,0005={machine}", "-k", f"0008,0050=A{number}", "-k", "0010,0010",
             "-k", "(0040,0100)[0].Modality=US", "-k", "(0040,0100)[0].ScheduledStationAETitle=US1")  # fmt: skip
    where = ("-aet", "US1", "-aec", "STORESCP", "127.0.0.1", str(gateway.worklist))
    done = subprocess.run(
        ["findscu", "-W", "-X", "-od", folder, *asked, *where], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (answer,) = folder.iterdir()
    return answer


def _message_page(gateway: Any, number: int) -> str:
    with Receptionist(gateway.url) as anna:
        anna.log_in("anna", PASSWORD)
        return anna.open(f"/messages/{number}").text


def test_names_arrive_at_the_store_the_page_and_the_machine(gateway: Any) -> None:
    answers = gateway.say_hl7(*(_order(case, n) for n, case in enumerate(CASES.values(), start=1)))
    for number, (title, case) in enumerate(CASES.items(), start=1):
        acknowledged = answers[number - 1].decode(case.codec)
        assert f"MSA|AA|C{number}" in acknowledged, title
        assert ("ERR||MSH^1^18|103^" in acknowledged) == case.is_odd, (title, acknowledged)
        page = _message_page(gateway, number)
        assert case.written.split("^")[0] in page, title
        assert ("the bytes are not in the declared set; read as cp1252" in page) == case.is_odd, title
        answer = _answer_to_pynetdicom(gateway, number, case.machine)
        assert str(answer.PatientName) == case.name, title
        assert bytes(answer.PatientName.original_string).rstrip() == _bytes(case), title


def test_the_orders_have_the_names_and_are_found_by_them(gateway: Any) -> None:
    gateway.say_hl7(*(_order(case, n) for n, case in enumerate(CASES.values(), start=1)))
    listed = gateway.command("orders", "list", "--json").stdout
    for title, case in CASES.items():
        assert f'"patient_name": "{case.name}"' in listed, title
    with Receptionist(gateway.url) as anna:
        anna.log_in("anna", PASSWORD)
        dashboard = anna.open("/").text
        form = anna.open("/messages").form("/messages")
        for number, (title, case) in enumerate(CASES.items(), start=1):
            for group in case.name.split("="):
                (row,) = anna.submit(form, {"term": group.split("^")[0].lower()}).rows[1:]
                assert f"A{number} " in row, (title, group)
    for case in CASES.values():
        assert case.name.split("=")[0].split("^")[0] in dashboard


@pytest.mark.dcmtk
@pytest.mark.skipif(shutil.which("findscu") is None, reason="Debian's dcmtk is not installed")
def test_dcmtk_reads_the_names_in_the_machines_own_character_set(gateway: Any, tmp_path: Path) -> None:
    gateway.say_hl7(*(_order(case, n) for n, case in enumerate(CASES.values(), start=1)))
    for number, (title, case) in enumerate(CASES.items(), start=1):
        answer = _answer_to_findscu(gateway, number, case.machine, tmp_path / title)
        read = dcmread(answer, force=True)
        assert str(read.PatientName) == case.name, title
        assert _bytes(case) in answer.read_bytes(), title
        dumped = subprocess.run(
            ["dcmdump", "-q", "+U8", answer], capture_output=True, timeout=60, check=False
        )
        if dumped.returncode == 0:  # DCMTK built with a converter
            assert f"[{case.name}" in dumped.stdout.decode(), title


def _bytes(case: Case) -> bytes:
    return case.name.encode(case.encoding)
