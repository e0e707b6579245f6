import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.flow.ports import Ports
from gateway.hl7.answering import answers_in
from gateway.hl7.batch import split
from gateway.hl7.framing import End, frame
from gateway.hl7.inbound import Receive, Rules, receiver
from gateway.hl7.reading import Expected
from gateway.mapping.registry import Modules
from gateway.model.er7 import Message, Segment, read_er7
from gateway.model.errors import Invalid
from gateway.model.lifecycle import State
from gateway.model.message import Message as Stored
from gateway.model.message import MessageState
from gateway.model.order import Order
from gateway.store import inbox, orders
from gateway.store.database import Database

Listen = Callable[..., Any]
Call = Callable[[int], Any]

PEER = "10.0.0.9"
CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "hl7"


def order(
    control_id: str = "CTL1",
    *,
    kind: str = "ORM^O01",
    version: str = "2.5.1",
    accession: str = "A100",
    start: str = "20261123103000+0000",
    modality: str = "US",
    name: str = "DOE^JANE",
    charset: str = "",
) -> bytes:
    """A radiology order in UTF-8."""
    return (
        f"MSH|^~\\&|RIS|HOSP|GW|RAD|20261123085500+0000||{kind}|{control_id}|P|{version}||||||{charset}\r"
        f"PID|1||MRN1^^^HOSP^MR||{name}||19800214|F\r"
        f"ORC|NW|P-{accession}|{accession}||||^^^{start}^^R\r"
        f"OBR|1|P-{accession}|{accession}|USABD^Abdomen^L||||||||||||||{accession}||||||{modality}\r"
    ).encode()


@pytest.fixture
def answer(ports: Ports, modules: Modules) -> Receive:
    return receiver(ports, lambda: modules, "ris")


def stored(ports: Ports) -> tuple[tuple[Stored, ...], tuple[Order, ...]]:
    """Every message, the newest first, and every order."""
    with ports.database.read() as tx:
        return inbox.newest(tx), orders.newest(tx)


def read(raw: bytes, codec: str = "utf-8") -> Message:
    return read_er7(raw.decode(codec))


def verdict(raw: bytes) -> tuple[str, str]:
    """MSA-1 and MSA-2."""
    segment = next(read(raw, "latin-1").named("MSA"))
    return segment.value(1), segment.value(2)


def errors(raw: bytes) -> list[Segment]:
    return list(read(raw, "latin-1").named("ERR"))


def test_an_order_is_kept_and_accepted(ports: Ports, answer: Receive) -> None:
    raw = order()
    ack = answer(raw, PEER)
    assert verdict(ack) == ("AA", "CTL1")
    (message,), (kept,) = stored(ports)
    assert (message.raw, message.answer, message.state) == (raw, ack, MessageState.MAPPED)
    assert (message.source, message.peer, message.accession) == ("ris", PEER, "A100")
    assert (kept.accession, kept.state, kept.patient.name) == ("A100", State.SCHEDULED, "DOE^JANE")
    keys = message.keys
    assert (keys.control_id, keys.sender, keys.message_type, keys.version, keys.sent_at) == (
        "CTL1",
        "RIS|HOSP",
        "ORM^O01",
        "2.5.1",
        "20261123085500+0000",
    )


def test_the_same_message_again_gets_the_same_bytes_and_makes_no_second_order(
    ports: Ports, answer: Receive
) -> None:
    first = answer(order(), PEER)
    assert answer(order(), PEER) == first
    messages, kept = stored(ports)
    assert (len(messages), len(kept)) == (1, 1)


def test_the_same_control_id_with_other_content_is_taken_and_the_sender_is_warned(
    ports: Ports, answer: Receive
) -> None:
    answer(order(), PEER)
    warned = answer(order(accession="A200"), PEER)
    assert verdict(warned) == ("AA", "CTL1")
    assert b"same control id (MSH-10)" in warned
    messages, kept = stored(ports)
    assert (len(messages), len(kept)) == (2, 2)
    assert ["MSH-10" in warning for warning in messages[0].warnings] == [True]


def test_each_answer_has_a_control_id_of_its_own(answer: Receive) -> None:
    ids = {read(answer(order(f"C{n}"), PEER)).header.value(10) for n in range(5)}
    assert len(ids) == 5
    assert all(0 < len(control_id) <= 20 for control_id in ids)


def test_an_unknown_type_is_rejected_and_kept(ports: Ports, answer: Receive) -> None:
    ack = answer(order(kind="MFN^M02"), PEER)
    assert verdict(ack) == ("AR", "CTL1")
    (error,) = errors(ack)
    assert [error.raw(n) for n in (2, 3, 4)] == [
        "MSH^1^9",
        "200^Unsupported message type^HL70357",
        "E",
    ]
    (message,), none = stored(ports)
    assert (message.state, message.keys.message_type, none) == (MessageState.FAILED, "MFN^M02", ())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\r",
        b"GET / HTTP/1.1\r\n\r\n",
        b"MSH",
        b"MSH|",
        b"MSH\rORC|CA|",
        b"MSH|^~\\A18|RIS",
        b"MSHA^~\\&",
        b"PID|1\r",
        b"\xff" * 50,
        b"\0" * 9,
    ],
)
def test_what_is_no_hl7_is_rejected_and_kept(ports: Ports, answer: Receive, raw: bytes) -> None:
    ack = answer(raw, PEER)
    assert verdict(ack)[0] == "AR"
    assert errors(ack)[0].value(1, 4) == "100"
    (message,), none = stored(ports)
    assert (message.raw, message.answer, message.state, none) == (raw, ack, MessageState.FAILED, ())


@pytest.mark.parametrize(
    "raw",
    [order(charset="CNS 11643-1992"), order(charset="UNICODE UTF-16"), order().decode().encode("utf-16")],
)
def test_a_set_that_cannot_be_read_is_rejected_by_name(ports: Ports, answer: Receive, raw: bytes) -> None:
    ack = answer(raw, PEER)
    assert verdict(ack) == ("AR", "CTL1")
    (error,) = errors(ack)
    assert (error.raw(2), error.value(3), error.value(8)[:6]) == ("MSH^1^18", "103", "MSH-18")
    assert stored(ports)[0][0].keys.control_id == "CTL1"


def test_a_wrong_date_holds_the_order_and_is_accepted_with_a_warning(ports: Ports, answer: Receive) -> None:
    ack = answer(order(start="23/11/2026"), PEER)
    assert verdict(ack) == ("AA", "CTL1")
    warned = {error.raw(2).split("^")[0]: error.value(4) for error in errors(ack)}
    assert warned == {"ORC": "W"}
    assert b"23/11/2026" not in ack
    (message,), (kept,) = stored(ports)
    assert (message.state, kept.state) == (MessageState.HELD, State.HELD)


def test_a_missing_accession_is_held_and_named(ports: Ports, answer: Receive) -> None:
    ack = answer(order(accession="").replace(b"P-", b"P1"), PEER)
    assert verdict(ack)[0] == "AA"
    assert any("AccessionNumber" in error.value(8) for error in errors(ack))
    assert [kept.state for kept in stored(ports)[1]] == [State.HELD]


def test_an_older_sender_learns_in_words_that_its_order_waits(answer: Receive) -> None:
    ack = answer(order(version="2.3.1", start="23/11/2026"), PEER)
    (segment,) = read(ack).named("MSA")
    assert (segment.value(1), segment.value(3)) == ("AA", "kept; a person will look at it")
    assert errors(ack) == []


def test_a_rejecting_fault_is_an_error_at_its_place(ports: Ports, tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "strict.yaml").write_text(
        "mapping: strict\nabout: refuses\nsource: hl7v2\nmatch: {MSH-9.1: ORM}\neach: order\n"
        "action: {from: ORC-1, table: {NW: schedule}, unmapped: hold}\n"
        "fields:\n  AccessionNumber: {from: OBR-18, required: reject}\n"
    )
    strict = Modules.load(folder, site={})
    assert strict.faults == ()
    answer = receiver(ports, lambda: strict, "ris")
    new, old = (answer(order(version=version, accession=""), PEER) for version in ("2.5.1", "2.3.1"))
    assert (verdict(new), verdict(old)) == (("AE", "CTL1"), ("AE", "CTL1"))
    assert errors(new)[0].raw(2).startswith("OBR^1^18")
    assert errors(new)[0].raw(7) == "strict.yaml:8"
    assert errors(old)[0].raw(1) == "OBR^1^18^101"
    messages, none = stored(ports)
    assert ([message.state for message in messages], none) == ([MessageState.FAILED] * 2, ())


def test_changed_mappings_count_at_once(ports: Ports, modules: Modules) -> None:
    in_use = [Modules((), ())]
    answer = receiver(ports, lambda: in_use[0], "ris")
    assert verdict(answer(order(), PEER))[0] == "AR"
    in_use[0] = modules
    assert verdict(answer(order(), PEER))[0] == "AA"


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("UNICODE UTF-8", "utf-8", "Łuk^Ĝö"),
        ("8859/15", "iso8859-15", "Œuvré^Zoë"),
        ("8859/5", "iso8859-5", "Люк^Анна"),
        ("8859/7", "iso8859-7", "Διον^Άννα"),
        ("GB 18030-2000", "gb18030", "丂亅^王"),
        ("~ISO IR87", "iso2022_jp", "山田^太郎"),
        ("8859/1", "cp1252", "O’Neil^Zoë"),
    ],
)
def test_names_arrive_in_every_character_set(
    ports: Ports, answer: Receive, charset: str, codec: str, name: str
) -> None:
    raw = order(name=name, charset=charset).decode().replace("RIS|HOSP", f"RIS|{name[:2]}").encode(codec)
    ack = answer(raw, PEER)
    assert verdict(ack)[0] == "AA"
    assert read(ack, codec).header.value(6) == name[:2]
    assert stored(ports)[1][0].patient.name == name


def test_hexadecimal_escapes_are_read_in_the_messages_set(ports: Ports, answer: Receive) -> None:
    answer(order(name="M\\XC3BC\\LLER^A", charset="UNICODE UTF-8"), PEER)
    assert stored(ports)[1][0].patient.name == "MüLLER^A"


@pytest.mark.parametrize(("end", "code"), [(End.TRUNCATED, "100"), (End.OVERSIZED, "207")])
def test_a_damaged_frame_is_rejected_though_it_could_be_read(
    ports: Ports, answer: Receive, end: End, code: str
) -> None:
    ack = answer(order(), PEER, end)
    assert (verdict(ack), errors(ack)[0].value(3)) == (("AR", "CTL1"), code)
    (message,), none = stored(ports)
    assert (message.state, none) == (MessageState.FAILED, ())


def test_a_database_without_tables_is_our_fault(
    ports: Ports, modules: Modules, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    bare = Database(f"sqlite:///{tmp_path}/bare.db")
    ack = receiver(replace(ports, database=bare), lambda: modules, "ris")(order(), PEER)
    assert (verdict(ack), errors(ack)[0].value(3)) == (("AE", "CTL1"), "207")
    assert "hl7.unavailable" in caplog.text
    assert "JANE" not in caplog.text
    bare.close()


def test_an_error_in_our_own_code_keeps_the_message_and_tells_the_sender_to_come_again(
    ports: Ports, modules: Modules, caplog: pytest.LogCaptureFixture
) -> None:
    in_use: Iterator[Modules] = iter([])
    broken = receiver(ports, lambda: next(in_use), "ris")
    ack = broken(order(), PEER)
    assert (verdict(ack), errors(ack)[0].value(3)) == (("AE", "CTL1"), "207")
    assert any(record.exc_info for record in caplog.records if record.msg == "hl7.failed")
    (message,), none = stored(ports)
    assert (message.state, message.raw, none) == (MessageState.FAILED, order(), ())
    assert verdict(receiver(ports, lambda: modules, "ris")(order(), PEER))[0] == "AA"


def asking(raw: bytes, accept: str, application: str) -> bytes:
    """The order with MSH-15 and MSH-16."""
    head, _, rest = raw.partition(b"\r")
    fields = head.split(b"|")
    fields[14:16] = accept.encode(), application.encode()
    return b"|".join(fields) + b"\r" + rest


def test_enhanced_mode_gives_two_answers_and_both_are_kept(
    ports: Ports, answer: Receive, listen: Listen, call: Call
) -> None:
    peer = call(listen(answer).port)
    raw = asking(order(), "AL", "AL")
    peer.write(frame(raw) + frame(raw))
    answers = [peer.answer() for _ in range(4)]
    assert [verdict(one) for one in answers] == [("CA", "CTL1"), ("AA", "CTL1")] * 2
    assert answers[:2] == answers[2:]
    (message,), (kept,) = stored(ports)
    assert (message.answer, kept.accession) == (b"".join(answers[:2]), "A100")


def test_a_sender_that_wants_no_answer_gets_none_and_its_order_counts(
    ports: Ports, answer: Receive, listen: Listen, call: Call
) -> None:
    peer = call(listen(answer).port)
    peer.write(frame(asking(order(), "NE", "NE")) + frame(order("CTL2", accession="A200")))
    assert verdict(peer.answer()) == ("AA", "CTL2")
    assert {kept.accession for kept in stored(ports)[1]} == {"A100", "A200"}


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        (Expected(senders=frozenset({"OTHER|HOSP"})), "204"),
        (Expected(processing_ids=frozenset({"T"})), "202"),
        (Expected(versions=frozenset({"2.3.1"})), "203"),
    ],
)
def test_what_a_listener_does_not_take_is_rejected(
    ports: Ports, modules: Modules, expected: Expected, code: str
) -> None:
    picky = receiver(ports, lambda: modules, "ris", Rules(expected=expected))
    ack = picky(order(), PEER)
    assert (verdict(ack), errors(ack)[0].value(3)) == (("AR", "CTL1"), code)
    assert verdict(picky(asking(order("CTL2"), "AL", "AL"), PEER))[0] == "CR"
    assert stored(ports)[1] == ()


def test_what_a_listener_takes_is_taken(ports: Ports, modules: Modules) -> None:
    expected = Expected(
        senders=frozenset({"RIS|HOSP"}), processing_ids=frozenset({"P"}), versions=frozenset({"2.5.1"})
    )
    assert (
        verdict(receiver(ports, lambda: modules, "ris", Rules(expected=expected))(order(), PEER))[0] == "AA"
    )


def test_a_held_message_is_answered_as_the_listener_says(ports: Ports, modules: Modules) -> None:
    strict = receiver(ports, lambda: modules, "ris", Rules(is_hold_an_error=True))
    ack = strict(order(start="23/11/2026"), PEER)
    assert (verdict(ack)[0], errors(ack)[0].value(4)) == ("AE", "E")
    assert [message.state for message in stored(ports)[0]] == [MessageState.HELD]


def test_after_commit_the_answer_does_not_wait_for_the_mapping(ports: Ports, modules: Modules) -> None:
    told: list[str] = []
    quick = receiver(ports, lambda: modules, "ris", Rules(is_deferred=True), lambda: told.append("arrived"))
    ack = quick(asking(order(version="2.3.1"), "AL", "AL"), PEER)
    assert [verdict(one)[0] for one in answers_in(ack)] == ["CA", "AA"]
    assert next(read(answers_in(ack)[1]).named("MSA")).value(3) == "kept; it is mapped later"
    (message,), none = stored(ports)
    assert (message.state, message.keys.control_id, none, told) == (
        MessageState.RECEIVED,
        "CTL1",
        (),
        ["arrived"],
    )
    assert verdict(quick(b"no HL7", PEER))[0] == "AR"


def test_each_message_of_a_batch_is_received_and_answered_by_itself(
    ports: Ports, answer: Receive, listen: Listen, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    peer = call(listen(answer).port)
    first, bad, last = order("C1", accession="A1"), order("C2", kind="XYZ^Q99"), order("C3", accession="A3")
    batch = b"FHS|^~\\&|RIS\rBHS|^~\\&|RIS\r" + first + bad + last + b"BTS|4\rFTS|1\r"
    peer.write(frame(batch) + frame(batch))
    answers = [peer.answer() for _ in range(6)]
    assert [verdict(one) for one in answers] == [("AA", "C1"), ("AR", "C2"), ("AA", "C3")] * 2
    assert (answers[0], answers[2]) == (answers[3], answers[5])
    assert [error.value(8) for error in errors(answers[0])] == [
        "BTS-1 (messages in the batch): says 4, there are 3"
    ]
    messages, kept = stored(ports)
    assert [message.raw for message in messages[::-1]][:3] == [first, bad, last]
    assert {one.accession for one in kept} == {"A1", "A3"}
    assert [record.levelname for record in caplog.records if record.msg == "hl7.batch"] == ["WARNING"] * 2


def test_a_batch_cut_short_loses_its_last_message_alone(ports: Ports, answer: Receive) -> None:
    ack = answer(order("C1", accession="A1") + order("C2", accession="A2")[:120], PEER, End.TRUNCATED)
    assert [verdict(one) for one in answers_in(ack)] == [("AA", "C1"), ("AR", "C2")]
    assert [kept.accession for kept in stored(ports)[1]] == ["A1"]


def test_utf_16_is_refused_by_name_though_its_characters_hold_frame_bytes(
    answer: Receive, listen: Listen, call: Call
) -> None:
    peer = call(listen(answer).port)
    for encoding in ("utf-16-le", "utf-16-be"):
        peer.write(frame(order(name="\u4e0b^\u4e1c").decode().encode(encoding)) + frame(order()))
        ack = peer.answer()
        assert (verdict(ack), errors(ack)[0].value(8)[:6]) == (("AR", "CTL1"), "MSH-18")
        while verdict(ack)[0] != "AA":
            ack = peer.answer()


def test_the_begin_of_a_message_that_nobody_could_recognise_is_kept_unanswered(
    ports: Ports, answer: Receive, listen: Listen, call: Call
) -> None:
    peer = call(listen(answer).port)
    peer.write(b"\x0bPID|1||A" + frame(order()))
    assert verdict(peer.answer()) == ("AA", "CTL1")
    assert [message.raw for message in stored(ports)[0]][::-1] == [b"PID|1||A", order()]


def test_an_unknown_fallback_is_refused_at_the_start(ports: Ports, modules: Modules) -> None:
    with pytest.raises(Invalid, match="charset"):
        receiver(ports, lambda: modules, "ris", Rules(expected=Expected(fallback_charset="klingon")))


def test_no_value_of_a_message_reaches_the_log(answer: Receive, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for raw in (order(), order(start="23/11/2026"), order(kind="XXX"), b"MSH|^~\\&|JANE", b"JANE"):
        answer(raw, PEER)
    told = [str(record.__dict__) for record in caplog.records if record.name.startswith("gateway")]
    assert told
    assert not any(secret in line for line in told for secret in ("JANE", "MRN1", "A100", "23/11"))


def test_over_a_socket_good_and_bad_share_a_connection(
    ports: Ports, answer: Receive, listen: Listen, call: Call
) -> None:
    peer = call(listen(answer).port)
    wire = (
        b"noise"
        + frame(b"no HL7")
        + frame(order("C1", accession="A1"))
        + frame(order("C2", kind="XYZ^Q99"))
        + b"\x0b"
        + order("C3")[:90]
        + frame(order("C4", accession="A4"))
        + frame(order("C1", accession="A1"))
    )
    for at in range(0, len(wire), 100):
        peer.write(wire[at : at + 100])
    assert [verdict(peer.answer()) for _ in range(6)] == [
        ("AR", "UNKNOWN"),
        ("AA", "C1"),
        ("AR", "C2"),
        ("AR", "C3"),
        ("AA", "C4"),
        ("AA", "C1"),
    ]
    messages, kept = stored(ports)
    assert len(messages) == 5
    assert {order.accession for order in kept} == {"A1", "A4"}


def test_over_a_socket_too_long_a_message_is_rejected_by_its_control_id(
    ports: Ports, answer: Receive, listen: Listen, call: Call
) -> None:
    peer = call(listen(answer, max_bytes=2000).port)
    peer.write(b"\x0b" + order() + b"NTE|1||" + b"x" * 100_000)
    ack = peer.answer()
    assert (verdict(ack), errors(ack)[0].value(3)) == (("AR", "CTL1"), "207")
    assert peer.answer() == b""
    assert len(stored(ports)[0][0].raw) <= 2000


def test_eight_senders_at_once_lose_nothing(
    ports: Ports, answer: Receive, listen: Listen, call: Call
) -> None:
    port = listen(answer).port
    peers = [call(port) for _ in range(8)]
    for turn in range(5):
        for number, peer in enumerate(peers):
            peer.write(frame(order(f"C{number}-{turn}", accession=f"A{number}-{turn}")))
    for turn in range(5):
        for number, peer in enumerate(peers):
            assert verdict(peer.answer()) == ("AA", f"C{number}-{turn}")
    assert {kept.accession for kept in stored(ports)[1]} == {f"A{n}-{t}" for n in range(8) for t in range(5)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    raw=st.binary(max_size=80),
    begin=st.sampled_from([b"", b"MSH|^~\\&|", b"MSH|^~\\&|A|B|C|D|2026||ORM^O01|", order()]),
)
def test_any_bytes_get_an_answer_that_can_be_read(answer: Receive, raw: bytes, begin: bytes) -> None:
    for one in answers_in(answer(begin + raw, PEER)):
        assert verdict(one)[0] in {"AA", "AE", "AR", "CA", "CE", "CR"}


@pytest.mark.corpora
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpora are not beside the repository")
def test_every_message_of_the_corpora_is_kept_and_answered(ports: Ports, modules: Modules) -> None:
    paths = sorted(path for path in CORPUS.rglob("*") if path.is_file())
    assert len(paths) > 500
    for path in paths:
        raw = path.read_bytes()
        name = str(path.relative_to(CORPUS))
        ack = receiver(ports, lambda: modules, name)(raw, PEER)
        answers = answers_in(ack)
        assert all(verdict(one)[0] in {"AA", "AE", "AR", "CA", "CE", "CR"} for one in answers), name
        assert not any(error.value(3) == "207" for one in answers for error in errors(one)), name
        with ports.database.read() as tx:
            kept = [message for message in inbox.newest(tx) if message.source == name][::-1]
        assert [message.raw for message in kept] == [part.raw for part in split(raw)], name
        assert b"".join(message.answer for message in kept) == ack, name
