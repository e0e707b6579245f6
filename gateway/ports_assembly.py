"""The configuration becomes what the verbs need."""

import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.destinations import fhir_destinations, hl7_destinations
from gateway.fhir import news, order_news
from gateway.flow.ports import Ports, both
from gateway.hl7.news import announcer
from gateway.hl7.outbound import MOST_CONTROL_ID
from gateway.model.ids import uid_from_uuid
from gateway.model.lifecycle import State
from gateway.model.station import Station
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
        announce=both(
            announcer(
                hl7_destinations(settings),
                lambda: uid_from_uuid(uuid.uuid4())[-MOST_CONTROL_ID:],
                {name: one.fallback_charset for name, one in settings.hl7.listeners.items()},
            ),
            both(
                order_news.announcer(fhir_destinations(settings)),
                news.announcer(fhir_destinations(settings), ZoneInfo(settings.site.timezone)),
            ),
        ),
    )
