"""What an operator types, and what comes of it: the commands, run in this process on a database of their own."""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway import logs
from gateway.cli import main
from gateway.model.errors import Invalid
from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.order import Order
from gateway.model.search import Found
from gateway.store import inbox
from gateway.store.database import Database
from gateway.store.files import Files

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]
OrderFactory = Callable[..., Order]


@pytest.fixture
def config(tmp_path: Path, database: Database) -> Path:
    """The configuration of a gateway whose database is there and is `database`."""
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'[store]\nurl = "sqlite:///{tmp_path}/gateway.db"\nfiles = "{tmp_path}/images"\n'
        f'[mappings]\nfolder = "{ROOT / "mappings"}"\n[log]\nfile = "{tmp_path}/gateway.log"\n',
        encoding="utf-8",
    )
    return file


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command is run as it is typed, with that configuration unless it names its own."""

    def run(*words: str, named: Path | None = config) -> Done:
        with pytest.raises(SystemExit) as ended:
            main([*words, *(("--config", str(named)) if named else ())])
        said = capsys.readouterr()
        return Done(status=int(ended.value.code or 0), out=said.out, err=said.err)

    return run


NONE_HAS = "9" * 23


def _keep(database: Database, raw: bytes) -> int:
    with database.write() as tx:
        return inbox.add(
            tx,
            Inbound(protocol=Protocol.HL7V2, source="ris", peer="127.0.0.1", raw=raw),
            sha256="0" * 64,
            at=datetime(2026, 11, 23, 9, 0, tzinfo=UTC),
            keys=Keys(control_id="C1"),
            state=MessageState.HELD,
            reason="a:100:b",
            module="",
            found=Found(),
        )


def test_a_message_is_shown_letter_for_letter(run: Run, database: Database) -> None:
    text = (
        "MSH|^~\\&|RIS|H|G|R|||ORM^O01|C1|P|2.5.1\nNTE|1||:x: at 10:100:20, [bold]no[/bold]\tnow \x0c :smile:"
    )
    number = _keep(database, text.replace("\n", "\r").encode())
    shown = run("messages", "show", str(number)).out
    assert f"--- received\n{text}\n--- answered\n" in shown
    assert shown.endswith("--- held: a:100:b\n")
    assert "a:100:b" in run("messages", "list").out


@pytest.mark.parametrize(
    "words",
    [
        "messages show",
        "messages replay 1",
        "messages discard --reason why 1",
        "messages edit --file {file}",
        "orders show",
        "deliveries retry 1",
        "merges undo",
        "map explain",
    ],
)
def test_a_number_that_nothing_can_have_is_nothings(run: Run, tmp_path: Path, words: str) -> None:
    file = tmp_path / "edited.hl7"
    file.write_text("MSH|", encoding="utf-8")
    done = run(*words.format(file=file).split(), NONE_HAS)
    assert (done.status, done.err) == (1, f"gateway: {NONE_HAS}: there is none with that number\n")
    unread = run(*words.format(file=file).split(), "9" * 5000)
    assert (unread.status, "a number is wanted" in unread.err) == (2, True)


def test_what_is_no_number_or_too_many_is_wrong_usage(run: Run) -> None:
    assert run("orders", "show", "A1").status == 2
    assert (
        run("map", "explain", "n" * 300).err == f"gateway: {'n' * 300}: cannot be read: File name too long\n"
    )
    for words in ("messages list --limit", "map diff orders-hl7 --last"):
        done = run(*words.split(), NONE_HAS)
        assert (done.status, "less than or equal to 1000000" in done.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    ["orders list", "messages show 1", "token add viewer --scope dicomweb", "user list", "map explain 1"],
)
def test_a_command_in_the_wrong_folder_works_on_no_new_database(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done = run(*words.split(), named=None)
    assert (done.status, done.out, done.err) == (
        2,
        "",
        f"gateway: store.url: there is no database at {elsewhere}/var/gateway.db; 'gateway db upgrade' makes one\n",
    )
    assert list(elsewhere.iterdir()) == []


def test_the_database_is_made_when_that_is_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("db", "upgrade", named=None).out == "the database is up to date\n"
    assert run("orders", "list", named=None).out == "nothing yet\n"


def test_a_row_of_a_list_is_one_whole_line(
    run: Run, order_factory: OrderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_factory(
        accession="US20261123001234",
        name="Müller-Lüdenscheidt^Jürgen",
        RequestedProcedureDescription="Abdomen and pelvis, with contrast, in the morning\nand fasting",
    )
    for columns in ("80", "20"):
        monkeypatch.setenv("COLUMNS", columns)
        (_, line) = run("orders", "list").out.splitlines()
        for value in (order.accession, order.patient.name, order.state, "2026-11-23T10:30:00+00:00"):
            assert f"  {value}  " in line
        assert "in the morning / and fasting" in line
        assert order.study_uid not in line
    assert f'"study_uid": "{order.study_uid}"' in run("orders", "list", "--json").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("simulate ris --to 127.0.0.1:1 {0}/none", "{0}/none: cannot be read: No such file or directory"),
        ("simulate ris --to 127.0.0.1:1 {0}", "{0}: cannot be read: Is a directory"),
        ("simulate ris --to 127.0.0.1:1", "FILES: none was given, so nothing was sent"),
        ("simulate ris --to 127.0.0.1:{9} {0}", "--to: HOST:PORT is wanted, such as 127.0.0.1:2575"),
        ("simulate machine store --to 127.0.0.1:1 {0}", "{0}: cannot be read: Is a directory"),
        (
            "map new --from {1} --to {0}/none/x.yaml",
            "{0}/none/x.yaml: cannot be written: No such file or directory",
        ),
        ("map explain {1} --message 9", "--message: the last message has the number 2"),
    ],
)
def test_a_file_or_number_of_no_use_is_said_so(run: Run, tmp_path: Path, words: str, said: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    known = {"0": folder, "1": ROOT / "fixtures" / "demo" / "orders.hl7", "9": "9" * 5000}
    filled, expected = (re.sub(r"{(\d)}", lambda found: str(known[found[1]]), one) for one in (words, said))
    done = run(*filled.split())
    assert (done.status, done.err) == (2, f"gateway: {expected}\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", ["simulate ris --listen", "simulate ehr --port", "demo --once --port-base"])
@pytest.mark.parametrize("port", ["99999", "-5", "0"])
def test_a_port_that_cannot_be_is_wrong_usage(run: Run, words: str, port: str) -> None:
    done = run(*words.split(), port, named=None)
    assert (done.status, "Invalid value for '--" in done.err) == (2, True)


def test_a_port_that_is_taken_is_said_so(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("simulate", "ehr", "--port", str(port))
    expected = f"gateway: EHR port {port}: cannot be opened: Address already in use"
    assert (done.status, done.err[: len(expected)], done.err.count("\n")) == (1, expected, 1)


@pytest.mark.parametrize("words", ["orders list", "db upgrade", "db backup copy.db"])
def test_a_file_that_is_no_database_is_said_so(run: Run, tmp_path: Path, words: str) -> None:
    (tmp_path / "gateway.db").write_text("root:x:0:0:root:/root:/bin/bash\n" * 40, encoding="utf-8")
    done = run(*words.split())
    assert (done.status, done.err) == (1, "gateway: the database does not answer: file is not a database\n")


def test_a_place_that_cannot_be_made_is_told_with_its_key(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "folder"
    with pytest.raises(
        Invalid, match=r"^store.files: .*/file/folder/incoming cannot be made: Not a directory$"
    ):
        Files(place).take()
    with pytest.raises(Invalid, match=r"^log.file: .*/file/folder/a.log cannot be written: Not a directory$"):
        logs.configure(file=place / "a.log", level="INFO", max_bytes=1000, kept_files=1)
    monkeypatch.setenv("GATEWAY_STORE__URL", f"sqlite:///{place}/gateway.db")
    done = run("db", "upgrade")
    assert (done.status, done.err) == (2, f"gateway: store.url: {place} cannot be made: Not a directory\n")
    monkeypatch.setenv("GATEWAY_STORE__URL", f"sqlite:///{tmp_path}/{'n' * 300}")
    done = run("orders", "list")
    assert (done.status, done.err.endswith(" cannot be looked for: File name too long\n")) == (2, True)


def test_a_backup_is_a_new_file_and_holds_what_the_database_holds(
    run: Run, database: Database, tmp_path: Path
) -> None:
    number = _keep(database, b"MSH|")
    copy = tmp_path / "copy.db"
    assert run("db", "backup", str(copy)).out == f"copied to {copy}\n"
    other = Database(f"sqlite:///{copy}")
    with other.read() as tx:
        assert [message.id for message in inbox.newest(tx)] == [number]
    other.close()


def test_a_backup_is_written_over_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear", encoding="utf-8")
    for name in ("gateway.db", "letter.txt", "images"):
        (tmp_path / "images").mkdir(exist_ok=True)
        done = run("db", "backup", str(tmp_path / name))
        said = f"gateway: {tmp_path}/{name}: there is a file already; it is not written over\n"
        assert (done.status, done.err) == (2, said)
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "Dear"
    done = run("db", "backup", str(tmp_path / "none" / "copy.db"))
    said = f"gateway: {tmp_path}/none/copy.db: cannot be written: No such file or directory\n"
    assert (done.status, done.err) == (2, said)
    done = run("db", "backup", "/dev/full")
    assert (done.status, "not written over" in done.err) == (2, True)
