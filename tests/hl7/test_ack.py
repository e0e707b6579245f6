from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hl7apy.parser import parse_message

from gateway.hl7.ack import AckCode, render_ack
from gateway.model.er7 import Message, read_er7
from gateway.model.order import Fault, Place, Severity

AT = datetime(2026, 7, 23, 9, 30, tzinfo=ZoneInfo("Europe/London"))
MISSING = Fault(
    severity=Severity.REJECT,
    keyword="AccessionNumber",
    place=Place(line=6, segment="OBR", segment_repetition=2, field=24, repetition=1, component=1),
    code="101",
    text="AccessionNumber is required; nothing found at OBR-18",
    at="orders-hl7.yaml:21",
)
DOUBT = Fault(
    severity=Severity.HOLD, keyword="Modality", place=None, code="103", text="Modality: not in table", at=""
)
REMARK = Fault(
    severity=Severity.WARN,
    keyword="PatientSex",
    place=Place(segment="PID", field=8),
    code="103",
    text="PatientSex: not in table sex",
    at="orders-hl7.yaml:30",
)
VERSIONS = ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"]


def asked(version: str = "2.5.1", *, delimiters: str = "|^~\\&", charset: str = "") -> Message:
    f, c = delimiters[0], delimiters[1]
    head = [
        "MSH",
        delimiters[1:],
        "RIS",
        "HOSP",
        "GW",
        "RAD",
        "20261123",
        "",
        c.join(("ORM", "O01", "ORM_O01")),
    ]
    return read_er7(f.join([*head, "CTL1", "P", version, "", "", "", "", "", charset]))


def lines(message: Message | None, code: AckCode, *faults: Fault, **more: Any) -> list[str]:
    raw = render_ack(message, code, control_id="GW1", at=AT, faults=faults, **more)
    assert raw.endswith(b"\r")
    return raw.decode(more.get("codec", "ascii")).split("\r")[:-1]


def test_an_acceptance_swaps_the_sides_and_repeats_the_control_id() -> None:
    assert lines(asked(charset="UNICODE UTF-8"), AckCode.ACCEPTED) == [
        "MSH|^~\\&|GW|RAD|RIS|HOSP|20260723093000+0100||ACK^O01^ACK|GW1|P|2.5.1||||||UNICODE UTF-8",
        "MSA|AA|CTL1",
    ]


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("2.1", "ACK"),
        ("2.3", "ACK"),
        ("2.3.1", "ACK"),
        ("2.4", "ACK^O01^ACK"),
        ("2.5.1", "ACK^O01^ACK"),
        ("2.8", "ACK^O01^ACK"),
        ("2.10", "ACK^O01^ACK"),
        ("", "ACK"),
        ("D.2", "ACK"),
        ("9" * 5000, "ACK"),
    ],
)
def test_the_type_of_the_answer_follows_the_version(version: str, kind: str) -> None:
    head = read_er7(lines(asked(version), AckCode.ACCEPTED)[0]).header
    assert (head.raw(9), head.raw(12)) == (kind, version)


def test_from_version_2_5_on_each_fault_is_an_err() -> None:
    answer = lines(asked("2.5.1"), AckCode.ERROR, MISSING, DOUBT, REMARK)
    assert answer[1:] == [
        "MSA|AE|CTL1",
        "ERR||OBR^2^24^1^1|101^Required field missing^HL70357|E|||orders-hl7.yaml:21|"
        "AccessionNumber is required; nothing found at OBR-18",
        "ERR|||103^Table value not found^HL70357|W||||Modality: not in table",
        "ERR||PID^1^8|103^Table value not found^HL70357|W|||orders-hl7.yaml:30|PatientSex: not in table sex",
    ]


def test_below_version_2_5_faults_stand_in_one_err_and_the_first_text_in_msa() -> None:
    for version in ("2.3", "2.3.1", "2.4"):
        assert lines(asked(version), AckCode.ERROR, MISSING, DOUBT)[1:] == [
            "MSA|AE|CTL1|AccessionNumber is required; nothing found at OBR-18",
            "ERR|OBR^2^24^101~^^^103",
        ]


def test_an_acceptance_below_version_2_5_has_no_err() -> None:
    assert lines(asked("2.3.1"), AckCode.ACCEPTED, DOUBT, text="kept")[1:] == ["MSA|AA|CTL1|kept"]


def test_the_messages_own_delimiters_are_used_and_escaped() -> None:
    own = asked("2.5", delimiters="#$%@!")
    answer = lines(own, AckCode.ERROR, replace(MISSING, text="a#b$c%d@e!f"))
    assert answer[0].startswith("MSH#$%@!#GW#RAD#RIS#HOSP#20260723093000+0100##ACK$O01$ACK#GW1#P#2.5")
    assert answer[2].startswith("ERR##OBR$2$24$1$1#101$Required field missing$HL70357#E#")
    assert read_er7("\r".join(answer)).segments[2].value(8) == "a#b$c%d@e!f"


def test_a_message_with_one_delimiter_only_gets_a_readable_answer() -> None:
    bare = read_er7("MSH|^|RIS|HOSP|GW|RAD|20261123||ORM^O01|CTL1|P|2.3")
    fault = replace(MISSING, text="a|b")
    assert lines(bare, AckCode.ERROR, fault, DOUBT)[1:] == ["MSA|AE|CTL1|a b", "ERR|OBR^2^24^101"]


def test_an_answer_is_in_the_messages_character_set() -> None:
    name = "山田病院"
    text = f"MSH|^~\\&|RIS|{name}|GW|RAD|20261123||ORM^O01|CTL1|P|2.5||||||~ISO IR87"
    raw = render_ack(read_er7(text), AckCode.ACCEPTED, control_id="1", at=AT, codec="iso2022_jp_ext")
    assert name.encode("iso2022_jp") in raw


def test_an_unreadable_message_gets_a_whole_answer() -> None:
    fault = Fault(severity=Severity.REJECT, keyword="", place=None, code="100", text="no MSH segment", at="")
    assert lines(None, AckCode.REJECTED, fault) == [
        "MSH|^~\\&|||||20260723093000+0100||ACK|GW1|P|2.3.1",
        "MSA|AR|UNKNOWN|no MSH segment",
        "ERR|^^^100",
    ]


def test_long_texts_and_many_faults_are_bounded() -> None:
    wordy = [replace(MISSING, text=f"{n} " + "x" * 1000) for n in range(100)]
    new = lines(asked("2.5"), AckCode.ERROR, *wordy)
    assert len(new) == 22
    assert max(map(len, new)) < 400
    assert len(lines(asked("2.3"), AckCode.ERROR, *wordy)[1]) < 100


def test_a_broken_header_stays_on_one_line() -> None:
    broken = read_er7("MSH|^~\\&|RIS|HO\rsp|GW|RAD|20261123||ORM^O01|C\rTL1|P|2.5")
    assert [line[:3] for line in lines(broken, AckCode.ACCEPTED)] == ["MSH", "MSA"]


def test_no_frame_byte_is_echoed() -> None:
    broken = read_er7("MSH|^~\\&|RIS|HO\x1csp|GW|RAD|20261123||ORM^O01|C\x0bTL1|P|2.5")
    assert lines(broken, AckCode.ACCEPTED)[1] == "MSA|AA|CTL1"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("code", list(AckCode))
def test_another_parser_reads_the_answer(version: str, code: AckCode) -> None:
    faults = (MISSING, DOUBT, REMARK) if code is not AckCode.ACCEPTED else ()
    raw = render_ack(asked(version), code, control_id="GW1", at=AT, faults=faults).decode()
    read = parse_message(raw, find_groups=False)
    assert (read.msa.msa_1.value, read.msa.msa_2.value) == (code.value, "CTL1")


@pytest.mark.parametrize("version", ["2.4", "2.5", "2.5.1", "2.6"])
def test_another_parsers_validation_passes(version: str) -> None:
    raw = render_ack(asked(version), AckCode.ERROR, control_id="GW1", at=AT, faults=(MISSING,)).decode()
    parse_message(raw, find_groups=False).validate()
