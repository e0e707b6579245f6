"""The configuration becomes what the verbs and the edges are given."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ssl import SSLContext

from starlette.routing import Route

from gateway.certificates import CIPHERS, CertificateFiles, client_contexts, server_contexts
from gateway.dicom.access import Access, Admission, Known, read_known
from gateway.dicom.commitment import Place
from gateway.dicom.conformance import Facts
from gateway.dicom.limits import Limits
from gateway.dicom.machines import Machines
from gateway.dicom.server import Tls
from gateway.dicom.worklist import Rules
from gateway.fhir_assembly import fhir_sources, known_of
from gateway.flow import watch_feeds
from gateway.flow.ports import Clock, Ports
from gateway.flow.replay import Rework
from gateway.hl7 import access as hl7_entry
from gateway.hl7 import inbound as hl7_inbound
from gateway.hl7.inbound import Inlet
from gateway.hl7.over_http import Door
from gateway.hl7.reading import Expected
from gateway.mapping.registry import Modules
from gateway.model.connection import read_subject
from gateway.model.hours import read_hours
from gateway.model.message import Inbound, Interpretation, Message
from gateway.model.network import read_network
from gateway.model.tally import Tally
from gateway.proofs import inbound_credential
from gateway.sections import Listener
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.stored import encode_text, interpret_stored, text_of
from gateway.web.dicomweb import routes as dicomweb


def _now() -> datetime:
    return datetime.now(UTC)


def rework(settings: Settings, modules: Callable[[], Modules], database: Database | None = None) -> Rework:
    """How kept messages are read again, as the listener or source they came from reads them now.

    `database` has what is known of FHIR sources; without it nothing beyond a message is looked for.
    """
    sources = fhir_sources(settings, _now)

    def fallback(message: Message | Inbound) -> str:
        listener = settings.hl7.listeners.get(message.source)
        return listener.fallback_charset if listener else Expected().fallback_charset

    def interpret(message: Message | Inbound) -> Interpretation:
        expected = Expected(fallback_charset=fallback(message))
        source = sources.get(message.source)
        known = known_of(message, source, database) if source and database else None
        return interpret_stored(message, modules(), expected=expected, source=source, known=known)

    return Rework(
        interpret=interpret,
        text=lambda message: text_of(message, fallback=fallback(message)),
        encode=lambda message, text: encode_text(message, text, fallback=fallback(message)),
    )


def worklist_rules(settings: Settings) -> Rules:
    """How machines are answered."""
    assigned = {station.ae_title: station.profile for station in settings.stations}
    return Rules(
        machines=Machines(settings.mappings.folder / "machines", assigned),
        fuzzy_names=settings.worklist.fuzzy_names,
        max_results=settings.worklist.max_results,
    )


def dicom_access(settings: Settings, clock: Clock, tally: Tally | None = None) -> Access:
    """Who may open associations, and how many."""
    dicom = settings.dicom
    stations = tuple(
        Known(ae_title=s.ae_title, networks=tuple(read_network(host) for host in s.hosts))
        for s in settings.stations
    )
    admission = Admission(
        known=(*stations, *(read_known(text) for text in dicom.allow)),
        only_known=dicom.only_known,
        called_ae=dicom.ae_title if dicom.check_called_ae else None,
    )
    limits = Limits(
        associations=dicom.max_associations,
        associations_per_peer=dicom.max_associations_per_peer,
        associations_per_minute=dicom.max_associations_per_minute,
        object_bytes=dicom.max_object_megabytes * 1024 * 1024,
    )
    return Access(admission, limits, clock, tally)


def conformance_facts(settings: Settings) -> Facts:
    """What the DICOM conformance statement tells of the configuration."""
    dicom = settings.dicom
    access = dicom_access(settings, lambda: datetime.now(UTC))
    return Facts(
        ae_title=dicom.ae_title,
        ports=tuple(dict.fromkeys((dicom.worklist_port, dicom.storage_port))),
        tls_port=dicom.tls.port if dicom.tls.certificate else None,
        asks_for_certificates=dicom.tls.client_authorities is not None,
        ciphers=CIPHERS,
        limits=access.limits,
        admission=access.admission,
    )


def dicom_tls(settings: Settings) -> Tls | None:
    """The DICOM port for TLS, None when none is wanted. Raises Invalid when its files cannot be used."""
    tls = settings.dicom.tls
    if tls.certificate is None:
        return None
    return Tls(port=tls.port, context=server_contexts(_dicom_files(settings)))


def dicom_places(settings: Settings) -> dict[str, Place]:
    """Where machines are told what is kept, by AE title. Raises Invalid when a certificate cannot be used."""
    files = _dicom_files(settings)
    return {
        s.ae_title: Place(host=s.host, port=s.port, tls=client_contexts(files) if s.tls else None)
        for s in settings.stations
        if s.host
    }


def _dicom_files(settings: Settings) -> CertificateFiles:
    tls = settings.dicom.tls
    return CertificateFiles(
        certificate=tls.certificate, key=tls.key, authorities=tls.client_authorities, name="dicom.tls"
    )


def http_contexts(settings: Settings) -> Callable[[], SSLContext] | None:
    """What each connection to the HTTP port is taken with; None without TLS. Raises Invalid.

    Browsers have no certificates: whether one must be shown is for each FHIR source to say.
    """
    tls = settings.http.tls
    if tls is None:
        return None
    files = CertificateFiles(
        certificate=tls.certificate, key=tls.key, authorities=tls.client_ca, name="http.tls"
    )
    return server_contexts(files, may_show_none=True)


def hl7_rules(chosen: Listener) -> hl7_inbound.Rules:
    """What a listener takes, and how it answers."""
    return hl7_inbound.Rules(
        expected=Expected(
            fallback_charset=chosen.fallback_charset,
            senders=frozenset(chosen.senders),
            processing_ids=frozenset(chosen.processing_ids),
            versions=frozenset(chosen.versions),
        ),
        is_hold_an_error=chosen.hold_answer == "error",
        is_deferred=chosen.ack == "after-commit",
    )


def hl7_access(chosen: Listener) -> hl7_entry.Access:
    """Who may connect to a listener."""
    return hl7_entry.Access(
        networks=tuple(read_network(one) for one in chosen.allow),
        subjects=tuple(read_subject(one) for one in chosen.allow_subjects),
    )


def hl7_contexts(name: str, chosen: Listener) -> Callable[[], SSLContext] | None:
    """What each connection to a listener is taken with; None without TLS. Raises Invalid, with the key to mend."""
    tls = chosen.tls
    if tls is None:
        return None
    files = CertificateFiles(
        certificate=tls.certificate, key=tls.key, authorities=tls.client_ca, name=f"hl7.listeners.{name}.tls"
    )
    return server_contexts(files)


def hl7_doors(settings: Settings, inlets: Mapping[str, Inlet]) -> dict[str, Door]:
    """The listeners that are reached by HTTP too: without a secret only those that no other computer reaches."""
    return {
        name: Door(
            inlet=inlets[name],
            auth=inbound_credential(chosen.http_auth),
            access=hl7_access(chosen),
            max_bytes=chosen.max_megabytes * 1024 * 1024,
        )
        for name, chosen in settings.hl7.listeners.items()
        if settings.http.is_local or not chosen.http_auth.is_none
    }


def feeds(settings: Settings) -> tuple[watch_feeds.Feed, ...]:
    """The listeners, and how long each may be silent."""
    return tuple(
        watch_feeds.Feed(
            name=name,
            quiet_after=timedelta(minutes=one.quiet_minutes) if one.quiet_minutes else None,
            hours=read_hours(one.hours),
        )
        for name, one in settings.hl7.listeners.items()
    )


def limits(settings: Settings) -> watch_feeds.Limits:
    """When a number is too large."""
    watch = settings.watch
    within = timedelta(minutes=watch.connects_minutes)
    return watch_feeds.Limits(held=watch.max_held, connects=watch.max_connects, within=within)


def dicomweb_routes(settings: Settings, ports: Ports) -> list[Route]:
    """The addresses of our DICOMweb."""
    http = settings.http
    return dicomweb.routes(ports, public_url=http.public_url or "", secure_cookies=http.is_secure)
