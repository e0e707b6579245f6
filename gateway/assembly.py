"""The configuration becomes what the verbs and the edges are given."""

import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.fhir.auth import Basic, Bearer, Credential, Header, Source
from gateway.fhir.destination import Destination, Write
from gateway.flow.ports import Ports
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
