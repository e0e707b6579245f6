"""The configuration becomes what the verbs and the edges are given."""

import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.certificates import CIPHERS, CertificateFiles, client_contexts, server_contexts
from gateway.dicom.access import Access, Admission, Known, read_known, read_network
from gateway.dicom.commitment import Place
from gateway.dicom.conformance import Facts
from gateway.dicom.limits import Limits
from gateway.dicom.machines import Machines
from gateway.dicom.server import Tls
from gateway.dicom.worklist import Rules
from gateway.fhir.auth import Basic, Bearer, Credential, Header, Source
from gateway.fhir.destination import Destination, Write
from gateway.flow.ports import Clock, Ports
from gateway.model.ids import uid_from_uuid
from gateway.model.lifecycle import State
from gateway.model.station import Station
from gateway.sections import Auth
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.files import Files


def make_ports(settings: Settings) -> Ports:
    """What the verbs need, for a configuration. The database is opened, not yet migrated."""
    return Ports(
        database=Database(settings.store.url),
        files=Files(settings.store.files),
        clock=lambda: datetime.now(UTC),
        new_uid=lambda: uid_from_uuid(uuid.uuid4()),
        zone=ZoneInfo(settings.site.timezone),
        stations=tuple(
            Station(ae_title=s.ae_title, name=s.name or s.ae_title, modality=s.modality)
            for s in settings.stations
        ),
        release=settings.worklist.release,
        listed=frozenset({State.SENT, State.STARTED} if settings.worklist.show_started else {State.SENT}),
        quiet=timedelta(seconds=settings.study.quiet_seconds),
        expire_after=timedelta(days=settings.worklist.expire_after_days),
    )


def worklist_rules(settings: Settings) -> Rules:
    """How machines are answered."""
    assigned = {station.ae_title: station.profile for station in settings.stations}
    return Rules(
        machines=Machines(settings.mappings.folder / "machines", assigned),
        fuzzy_names=settings.worklist.fuzzy_names,
        max_results=settings.worklist.max_results,
    )


def dicom_access(settings: Settings, clock: Clock) -> Access:
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
    return Access(admission, limits, clock)


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
    files = CertificateFiles(certificate=tls.certificate, key=tls.key, authorities=tls.client_authorities)
    return Tls(port=tls.port, context=server_contexts(files))


def dicom_places(settings: Settings) -> dict[str, Place]:
    """Where machines are told what is kept, by AE title. Raises Invalid when a certificate cannot be used."""
    tls = settings.dicom.tls
    files = CertificateFiles(certificate=tls.certificate, key=tls.key, authorities=tls.client_authorities)
    return {
        s.ae_title: Place(host=s.host, port=s.port, tls=client_contexts(files) if s.tls else None)
        for s in settings.stations
        if s.host
    }


def fhir_sources(settings: Settings) -> dict[str, Source]:
    """Who may push FHIR, by name."""
    return {
        name: Source(
            name=name, auth=_inbound(source.auth), release=source.release, base_url=source.base_url or ""
        )
        for name, source in settings.fhir.sources.items()
    }


def _inbound(auth: Auth) -> Bearer | Basic | None:
    credential = _credential(auth)
    assert not isinstance(credential, Header)  # the settings refuse it for a source
    return credential


def fhir_destinations(settings: Settings) -> tuple[Destination, ...]:
    """Who is told about studies by FHIR."""
    return tuple(
        Destination(
            name=name,
            url=one.url,
            release=one.release,
            write=Write(one.write),
            auth=_credential(one.auth),
            sources=_same_server(settings, name, one.url),
        )
        for name, one in settings.fhir.destinations.items()
    )


def _same_server(settings: Settings, name: str, url: str) -> frozenset[str]:
    """The sources on the destination's own server: those with its base URL and, where it gives none, its name."""
    sources = settings.fhir.sources.items()
    return frozenset(
        other for other, one in sources if (one.base_url or (url if other == name else "")) == url
    )


def _credential(auth: Auth) -> Credential | None:
    if auth.bearer is not None:
        return Bearer(token=auth.bearer)
    if auth.basic is not None:
        return Basic(user=auth.basic[0], password=auth.basic[1])
    return Header(name=auth.header[0], value=auth.header[1]) if auth.header is not None else None
