"""The configuration of FHIR becomes what its edge is given."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path

from gateway.fhir.auth import Basic, Bearer, Header, Source
from gateway.fhir.exchange import Connection
from gateway.fhir.holding import Known, known_to
from gateway.fhir.issuer import Issuer
from gateway.fhir.proving import Place
from gateway.fhir.pushing import Addresses, Check, ClientCertificate, PathSecret, Signature, Way
from gateway.fhir.reader import Reader
from gateway.fhir.reading_back import ReadingBack, connection_to
from gateway.fhir.registrar import Form, Registrar, Wish
from gateway.flow.follow import Rhythm
from gateway.flow.ports import Clock, Ports
from gateway.mapping.registry import Modules
from gateway.model.connection import read_subject
from gateway.model.message import Inbound, Message
from gateway.model.network import read_network
from gateway.proof_sections import Oidc, PushProof, SenderCertificate
from gateway.proofs import certificate_of, proof_of
from gateway.sections import FhirSource, Subscribe
from gateway.settings import Settings
from gateway.store.database import Database


def fhir_sources(settings: Settings, clock: Clock) -> dict[str, Source]:
    """Who may push FHIR, by name."""
    return {
        name: Source(
            name=name,
            auth=tuple(way for proof in source.auth for way in _ways(proof, clock)),
            release=source.release,
            owners=source.owners,
            fresh=timedelta(minutes=source.fresh_minutes) if source.base_url else None,
            base_url=source.base_url or "",
            polls=source.poll.criteria if source.poll else "",
            counts_events=source.poll.event_numbers if source.poll else False,
        )
        for name, source in settings.fhir.sources.items()
    }


def known_of(message: Message | Inbound, source: Source, database: Database) -> Known:
    """What is held of the message's source, and what could not be read for the message."""
    if not isinstance(message, Message):
        return known_to(database, source.name)
    return known_to(database, source.name, message.id, stale_before=source.stale_before(message.received_at))


def _ways(proof: PushProof, clock: Clock) -> Iterator[Way]:
    """The ways in that one proof of the settings opens: as many as it has combinations of secrets."""
    hmac, mtls, oidc = proof.hmac, proof.mtls, proof.oidc
    kinds: list[list[Check]] = [
        [Bearer(token=secret) for secret in proof.bearer or ()],
        [Basic(user=proof.basic[0], password=proof.basic[1])] if proof.basic else [],
        [Header(name=proof.header[0], value=proof.header[1])] if proof.header else [],
        [
            Signature(
                header=hmac.header,
                secret=secret,
                prefix=hmac.prefix,
                encoding=hmac.encoding,
                algorithm=hmac.algorithm,
            )
            for secret in (hmac.secret if hmac else ())
            if hmac
        ],
        [PathSecret(secret=proof.url_token)] if proof.url_token else [],
        [_certified(mtls)] if mtls else [],
        [_issuer(oidc, clock)] if oidc else [],
        [Addresses(networks=tuple(map(read_network, proof.allow)))] if proof.allow else [],
    ]
    yield from product(*(kind for kind in kinds if kind))


def _certified(mtls: SenderCertificate) -> ClientCertificate:
    return ClientCertificate(
        fingerprints=frozenset(mtls.fingerprints),
        subjects=tuple(map(read_subject, mtls.subjects)),
        header=mtls.header,
        proxies=tuple(map(read_network, mtls.proxies)),
    )


def _issuer(oidc: Oidc, clock: Clock) -> Issuer:
    return Issuer(
        oidc.issuer,
        audience=oidc.audience,
        clock=clock,
        jwks_url=oidc.jwks_url or "",
        subject=oidc.subject,
        email=oidc.email,
    )


def rhythms(settings: Settings) -> dict[str, Rhythm]:
    """When each source that may be polled is polled."""
    return {
        name: Rhythm(
            every=timedelta(minutes=one.poll.minutes), heartbeat=timedelta(seconds=one.poll.heartbeat_seconds)
        )
        for name, one in settings.fhir.sources.items()
        if one.poll is not None
    }


def reading_back(
    settings: Settings, ports: Ports, modules: Callable[[], Modules]
) -> dict[str, tuple[ReadingBack, timedelta]]:
    """What reads from the sources that can be asked, and for how long a message waits for that."""
    found = {}
    sources = fhir_sources(settings, ports.clock)
    for name, one in settings.fhir.sources.items():
        if one.base_url is not None:
            reader = Reader(one.base_url, _connection(one, ports.clock, ports.new_uid))
            first = timedelta(days=one.poll.first_days if one.poll else 1)
            reading = ReadingBack(sources[name], reader, ports, modules, first_poll=first)
            found[name] = (reading, timedelta(minutes=one.patience_minutes))
    return found


def registrars(settings: Settings, *, clock: Clock, new_id: Callable[[], str]) -> dict[str, Registrar]:
    """What keeps the Subscription of each source that has one."""
    return {
        name: Registrar(_wish(one.subscribe), one.base_url, _connection(one, clock, new_id), clock)
        for name, one in settings.fhir.sources.items()
        if one.subscribe is not None and one.base_url is not None
    }


def _wish(given: Subscribe) -> Wish:
    return Wish(
        form=Form(given.form),
        endpoint=given.endpoint,
        criteria=given.criteria,
        topic=given.topic,
        headers=given.headers,
        payload=given.payload,
        heartbeat_s=given.heartbeat_seconds,
        lasts=timedelta(days=given.days),
    )


def _connection(source: FhirSource, clock: Clock, new_id: Callable[[], str]) -> Connection:
    place = Place(
        url=source.base_url or "",
        proof=proof_of(source.read_auth),
        certificate=certificate_of(source.read_auth),
    )
    return connection_to(place, clock=clock, new_id=new_id)


def signing_keys(settings: Settings) -> tuple[Path, ...]:
    """The files of every key that signs for us, or is about to."""
    proofs = [one.auth for one in settings.fhir.destinations.values()]
    proofs += [one.read_auth for one in settings.fhir.sources.values()]
    found = (proof.smart_backend for proof in proofs)
    return tuple(dict.fromkeys(file for smart in found if smart is not None for file in smart.keys))
