"""The configuration of FHIR becomes what its edge is given."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path

from gateway.fhir import credentials
from gateway.fhir.auth import Basic, Bearer, Credential, Header, Source
from gateway.fhir.credentials import Certificate, ClientSecret, SignedClaim
from gateway.fhir.destination import Destination, Instances, OrderUpdate, Write
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
from gateway.proof_sections import Oidc, Proof, PushProof, SenderCertificate
from gateway.sections import Auth, FhirDestination, FhirSource, Subscribe
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.web.dicomweb.asked import ROOT as DICOMWEB


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
        certificate=_certificate(source.read_auth),
    )
    return connection_to(place, clock=clock, new_id=new_id)


def inbound_credential(auth: Auth) -> Bearer | Basic | None:
    """What whoever sends to us proves itself by; None when nothing is asked."""
    credential = credential_of(auth)
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
            auth=proof_of(one.auth),
            certificate=_certificate(one.auth),
            signing_secret=one.signing_secret,
            order_update=OrderUpdate(one.order_update),
            in_flight=one.in_flight,
            sources=_same_server(settings, name, one.url),
            instances=Instances(one.instances),
            max_instances=one.max_instances,
            observations=one.observations,
            report=one.report,
            provenance=one.provenance,
            registered=one.registered,
            dicomweb_url=_images_at(settings, one),
        )
        for name, one in settings.fhir.destinations.items()
    )


def _images_at(settings: Settings, one: FhirDestination) -> str:
    """Where the destination is told that images can be had; "": it is told of no such place."""
    if one.dicomweb_url:
        return one.dicomweb_url
    return f"{settings.http.public_url}{DICOMWEB}" if one.dicomweb and settings.http.public_url else ""


def proof_of(auth: Proof) -> credentials.Proof | None:
    """How we prove ourselves to a server; None when we do not, or by a certificate alone."""
    if auth.oauth2 is not None:
        one = auth.oauth2
        return ClientSecret(
            client_id=one.client_id,
            secret=one.client_secret,
            scope=one.scope,
            token_url=one.token_url or "",
            sends=one.send,
        )
    if auth.smart_backend is not None:
        smart = auth.smart_backend
        return SignedClaim(
            client_id=smart.client_id, keys=smart.keys, scope=smart.scope, token_url=smart.token_url or ""
        )
    return credential_of(Auth(bearer=auth.bearer, basic=auth.basic, header=auth.header))


def signing_keys(settings: Settings) -> tuple[Path, ...]:
    """The files of every key that signs for us, or is about to."""
    proofs = [one.auth for one in settings.fhir.destinations.values()]
    proofs += [one.read_auth for one in settings.fhir.sources.values()]
    found = (proof.smart_backend for proof in proofs)
    return tuple(dict.fromkeys(file for smart in found if smart is not None for file in smart.keys))


def _certificate(auth: Proof) -> Certificate | None:
    mtls = auth.mtls
    return Certificate(certificate=mtls.certificate, key=mtls.key) if mtls is not None else None


def _same_server(settings: Settings, name: str, url: str) -> frozenset[str]:
    """The sources on the destination's own server: those with its base URL and, where it gives none, its name."""
    sources = settings.fhir.sources.items()
    return frozenset(
        other for other, one in sources if (one.base_url or (url if other == name else "")) == url
    )


def credential_of(auth: Auth) -> Credential | None:
    """How one side proves who it is; None when it does not."""
    if auth.bearer is not None:
        return Bearer(token=auth.bearer)
    if auth.basic is not None:
        return Basic(user=auth.basic[0], password=auth.basic[1])
    return Header(name=auth.header[0], value=auth.header[1]) if auth.header is not None else None
