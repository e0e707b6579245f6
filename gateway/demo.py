"""The whole road of an order, played with a real gateway and three simulated parties in a temporary folder.

Each step is checked at the far end: what the RIS was answered, what the page shows, what the machine got, what the
EHR holds.
"""

import io
import secrets
import signal
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from PIL import Image
from rich.console import Console

from gateway.app import Gateway
from gateway.demo_places import HOST, QUIET_S, Places, Secrets, counted_places, free_places, settings_of
from gateway.flow import admit
from gateway.model.errors import GatewayError
from gateway.model.lifecycle import State
from gateway.model.order import Order
from gateway.model.study import StudyState
from gateway.settings import Settings
from gateway.simulate import ehr as ehr_party
from gateway.simulate import machine, placer, ris
from gateway.simulate.ehr import Ehr
from gateway.simulate.exams import Exam, planned
from gateway.simulate.objects import Entry
from gateway.simulate.receptionist import Page, Receptionist
from gateway.simulate.report import FINDINGS
from gateway.simulate.resources import Json
from gateway.store import orders, studies

USER = "demo"
STATION = "US1"
PICTURES = 3
SERIES = 2  # the images and the report
LARGEST_THUMBNAIL = 200
WITHIN_S = 20.0
POLL_S = 0.1
MACHINE_ASKS_EVERY_S = 3.0

_Found = TypeVar("_Found")


class Missed(GatewayError):
    """What a step promised did not happen."""


def run(*, once: bool, port_base: int | None, console: Console, ehr: Ehr | None = None) -> int:
    """0 when every step truly happened, else 1, with the step that did not on the console.

    With `once` that is all; without, the parties go on until they are interrupted. Ports count from `port_base`:
    page, HL7, worklist, storage, EHR; None takes the usual ones, or free ones in their place. `ehr` stands in for
    the simulated EHR.
    """
    known = Secrets(
        password=secrets.token_urlsafe(9),
        source_token=secrets.token_urlsafe(),
        ehr_token=secrets.token_urlsafe(),
    )
    with (
        _interruptible(),
        tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder,
        ExitStack() as stack,
    ):
        places = free_places() if port_base is None else counted_places(port_base)
        party = ehr or Ehr(token=known.ehr_token)
        road = Road(stack, settings_of(Path(folder), places, known), places, known, party)
        if not _played(road, console):
            return 1
        if not once:
            _stay(road, console)
    return 0


class Road:
    """The steps, in the order of `steps`; each returns the sentence that says what happened."""

    def __init__(
        self, stack: ExitStack, settings: Settings, places: Places, known: Secrets, ehr: Ehr
    ) -> None:
        self.places = places
        self.known = known
        self.ehr = ehr
        self.page = f"http://{HOST}:{places.http}"
        self.gateway = Gateway(settings)
        self.receptionist = Receptionist(self.page)
        self._stack = stack
        self._exams: tuple[Exam, ...] = ()
        self._objects = 0

    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """The name of each step and what plays it."""
        return (
            ("gateway starts", self.start_gateway),
            ("EHR and RIS are up", self.start_parties),
            ("orders arrive", self.order),
            ("nothing sent, nothing on the machine", self.query_early),
            ("receptionist sends", self.send),
            ("machine gets its worklist", self.query),
            ("machine stores", self.store),
            ("dashboard shows the images", self.look),
            ("study completes", self.complete),
            ("EHR is told", self.tell),
        )

    @property
    def exam(self) -> Exam:
        """The examination that is followed along the road."""
        return self._exams[0]

    def start_gateway(self) -> str:
        """The gateway is open."""
        self._stack.enter_context(self.gateway)
        self._stack.enter_context(self.receptionist)
        p = self.places
        return f"The gateway runs: page {p.http}, HL7 {p.hl7}, worklist {p.worklist}, storage {p.storage}."

    def start_parties(self) -> str:
        """The EHR answers."""
        base = self._stack.enter_context(ehr_party.serving(self.ehr, self.places.ehr, HOST))
        release = placer.fhir_release(base)
        ports = self.gateway.ports
        self._exams = planned(ports.clock().astimezone(ports.zone), 3)
        return f"The EHR answers on port {self.places.ehr} (FHIR {release}); the RIS has two orders, the EHR one."

    def order(self) -> str:
        """Three orders are taken."""
        now = self.gateway.ports.clock()
        messages = [
            ris.order_message(exam, control_id=f"DEMO{number}", sent_at=now)
            for number, exam in enumerate(self._exams[:2], start=1)
        ]
        for sent in ris.send(messages, HOST, self.places.hl7):
            if sent.code != "AA":
                raise Missed(
                    f"the gateway answered {sent.code or 'nothing'} to {sent.control_id}: {sent.text}"
                )
        request = placer.service_request(self._exams[2], request_id="sr-demo-1")
        pushed = placer.push(request, self.page, "ehr", token=self.known.source_token)
        if not pushed.is_accepted:
            raise Missed(f"the gateway answered HTTP {pushed.status} to the ServiceRequest")
        return "The RIS sent two HL7 orders, each acknowledged AA; the EHR pushed a FHIR ServiceRequest, accepted."

    def query_early(self) -> str:
        """The machine's list is empty."""
        if found := self._ask(STATION):
            raise Missed(f"{len(found)} entries were on the machine before anybody sent them")
        return "The machine asked for its worklist and found it empty: nobody has pressed send."

    def send(self) -> str:
        """One order was sent by its button on the page."""
        secret = admit.new_setup_secret(self.gateway.ports)
        self.receptionist.set_up(secret or "", USER, self.known.password)
        self.receptionist.log_out()
        page = self.receptionist.log_in(USER, self.known.password)
        for exam in self._exams:
            _row(page, exam.accession)
        order_id = self._stored().id
        page = self.receptionist.send_order(order_id, STATION)
        page.form(f"/orders/{order_id}/recall")
        return f"The receptionist logged in, saw three orders and pressed Send for {self.exam.accession}."

    def query(self) -> str:
        """The machine has exactly the patient that was sent."""
        found = self._ask(STATION)
        if len(found) != 1:
            raise Missed(f"the machine found {len(found)} entries instead of one")
        wrong = [field for field, wanted in self._wanted().items() if getattr(found[0], field) != wanted]
        if wrong:
            raise Missed(f"not as ordered on the machine: {', '.join(wrong)}")
        return (
            f"The machine asked again and found one patient: {found[0].patient_name}, {found[0].patient_id}."
        )

    def store(self) -> str:
        """Everything the machine made was taken."""
        (entry,) = self._ask(STATION)
        stored = self.scan(entry, STATION)
        if refused := [one.status for one in stored if one.status != machine.SUCCESS]:
            raise Missed(f"{len(refused)} of {len(stored)} objects were not answered 0x0000")
        self._objects = len(stored)
        return f"The machine stored {PICTURES} images and a report; each was answered 0x0000."

    def look(self) -> str:
        """The pages show thumbnails that can be drawn, and every number measured."""
        pictures = _await("no thumbnails on the dashboard", self._thumbnails)
        for picture in pictures:
            _check_thumbnail(self.receptionist.picture(picture))
        first = f"{FINDINGS[0].numbers[0].value} {FINDINGS[0].numbers[0].unit.value}"
        _await(
            "no measurement on the dashboard", lambda: first in _row(self._dashboard(), self.exam.accession)
        )
        text = self.receptionist.open(pictures[0].split("/instances/")[0]).text
        numbers = [f"{n.value} {n.unit.value}" for group in FINDINGS for n in group.numbers]
        if missing := [number for number in numbers if number not in text]:
            raise Missed(f"not on the study's page: {', '.join(missing)}")
        return f"The dashboard shows {len(pictures)} thumbnails and the measurements: {', '.join(numbers)}."

    def complete(self) -> str:
        """The study is complete and its order done."""
        uid = self._stored().study_uid

        def is_complete() -> bool:
            with self.gateway.ports.database.read() as tx:
                study = studies.of_uid(tx, uid)
            return study is not None and study.state is StudyState.COMPLETE

        _await("the study is still being received", is_complete)
        return f"No image came for {QUIET_S:g} seconds: the study is complete."

    def tell(self) -> str:
        """The EHR holds the study as the machine made it, written by a conditional update."""
        _await("the EHR has no ImagingStudy", self._is_told)
        held = self.ehr.held("ImagingStudy")
        if len(held) != 1:
            raise Missed(f"the EHR holds {len(held)} studies instead of one")
        if wrong := [name for name, is_right in self._truths(held[0]).items() if not is_right]:
            raise Missed(f"not as stored in the EHR: {', '.join(wrong)}")
        _await("the order is not completed", lambda: self._stored().state is State.COMPLETED)
        return f"The EHR got an ImagingStudy with {self._objects} instances; the order is completed."

    def scan(self, entry: Entry, station: str) -> tuple[machine.Stored, ...]:
        """What the gateway answered to the objects that the machine `station` made of a patient on its list."""
        ports = self.gateway.ports
        made = machine.acquire(entry, now=ports.clock().astimezone(ports.zone), new_uid=ports.new_uid)
        return machine.store(made, HOST, self.places.storage, calling_ae=station)

    def poll_machines(self) -> Iterator[tuple[str, Entry]]:
        """Each machine's AE title with what is on its list now."""
        for station in self.gateway.ports.stations:
            for entry in self._ask(station.ae_title):
                yield station.ae_title, entry

    def _ask(self, station: str) -> tuple[Entry, ...]:
        return machine.query(
            HOST, self.places.worklist, calling_ae=station, ScheduledStationAETitle=station, Modality="US"
        )

    def _stored(self) -> Order:
        with self.gateway.ports.database.read() as tx:
            found = orders.of_accession(tx, self.exam.accession)
        if len(found) != 1:
            raise Missed(f"{len(found)} orders have the accession number instead of one")
        return found[0]

    def _wanted(self) -> Mapping[str, str]:
        exam = self.exam
        local = exam.start.astimezone(self.gateway.ports.zone)
        return {
            "patient_name": exam.person_name,
            "patient_id": exam.patient_id,
            "birth_date": exam.birth_date,
            "sex": exam.sex,
            "accession": exam.accession,
            "study_uid": self._stored().study_uid,
            "modality": exam.modality,
            "station": STATION,
            "start_date": f"{local:%Y%m%d}",
        }

    def _dashboard(self) -> Page:
        return self.receptionist.open("/")

    def _thumbnails(self) -> tuple[str, ...]:
        found = tuple(image for image in self._dashboard().images if image.startswith("/studies/"))
        return found if len(found) >= PICTURES else ()

    def _is_told(self) -> bool:
        for request in self.ehr.received:
            if request.method in {"PUT", "POST"} and 400 <= request.status < 500:
                raise Missed(f"the EHR answered HTTP {request.status}")
        return any(request.is_conditional_update for request in self.ehr.received)

    def _truths(self, study: Json) -> Mapping[str, bool]:
        order = self._stored()
        values = {identifier.get("value") for identifier in study.get("identifier", [])}
        listed = [instance for series in study.get("series", []) for instance in series.get("instance", [])]
        return {
            "ImagingStudy.identifier (study)": f"urn:oid:{order.study_uid}" in values,
            "ImagingStudy.identifier (accession)": order.accession in values,
            "ImagingStudy.basedOn": order.accession in str(study.get("basedOn")),
            "ImagingStudy.numberOfSeries": study.get("numberOfSeries") == SERIES,
            "ImagingStudy.numberOfInstances": study.get("numberOfInstances") == self._objects,
            "ImagingStudy.series.instance": len(listed) == self._objects,
        }


def _played(road: Road, console: Console) -> bool:
    steps = road.steps()
    for number, (name, act) in enumerate(steps, start=1):
        mark = f"{number:2}/{len(steps)}"
        try:
            with console.status(f"{mark}  {name}"):
                sentence = act()
        except Exception as error:  # the one place that must name the step, whatever went wrong in it
            reason = str(error) if isinstance(error, GatewayError) else f"{type(error).__name__}: {error}"
            console.print(f"[red]✗[/] {mark}  [bold]{name}[/]: ", end="")
            console.print(reason, markup=False, style="red")
            return False
        console.print(f"[green]✓[/] {mark}  ", end="")
        console.print(sentence, markup=False)
    return True


def _stay(road: Road, console: Console) -> None:
    """The machines go on asking, scanning and storing until the user has enough."""
    console.print(f"\nThe dashboard: [link={road.page}]{road.page}[/link]")
    console.print(f"Log in as [bold]{USER}[/] with the password [bold]{road.known.password}[/]")
    console.print("Send another order: its machine will scan the patient. Ctrl-C ends the demo.\n")
    with suppress(webbrowser.Error):
        webbrowser.open(road.page)
    told = len(road.ehr.held("ImagingStudy"))
    try:
        while True:
            _poll(road, console)
            if len(held := road.ehr.held("ImagingStudy")) > told:
                console.print(f"The EHR now holds {len(held)} studies.")
                told = len(held)
            time.sleep(MACHINE_ASKS_EVERY_S)
    except KeyboardInterrupt:
        console.print("The demo ends.")


def _poll(road: Road, console: Console) -> None:
    try:
        for station, entry in road.poll_machines():
            console.print(f"{station} has {entry.patient_name} on its list and scans…", markup=False)
            kept = sum(one.is_kept for one in road.scan(entry, station))
            console.print(f"{station} stored {kept} objects.")
    except GatewayError as error:
        console.print(str(error), markup=False, style="red")


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that nothing is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _row(page: Page, accession: str) -> str:
    """The text of the order's row. Raises Missed."""
    found = next((row for row in page.rows if accession in row), None)
    if found is None:
        raise Missed(f"the order {accession} is not on the page")
    return found


def _check_thumbnail(picture: bytes) -> None:
    with Image.open(io.BytesIO(picture)) as opened:
        opened.load()
        is_blank = opened.convert("L").getextrema()[0] == opened.convert("L").getextrema()[1]
        if max(opened.size) > LARGEST_THUMBNAIL or is_blank:
            raise Missed("a thumbnail is blank or too large")


def _await(missing: str, find: Callable[[], _Found], within_s: float = WITHIN_S) -> _Found:
    """What `find` finds as soon as it is anything. Raises Missed, with the words for what is missing."""
    deadline = time.monotonic() + within_s
    while True:
        if found := find():
            return found
        if time.monotonic() > deadline:
            raise Missed(f"{missing} after {within_s:g} seconds")
        time.sleep(POLL_S)
