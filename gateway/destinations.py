"""Who is told about orders and studies: the configuration becomes what the edges are given."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from gateway.fhir.destination import Destination, Instances, OrderUpdate, Write
from gateway.hl7 import destination as hl7
from gateway.proofs import certificate_of, proof_of
from gateway.sections import FhirDestination, Hl7Destination
from gateway.settings import Settings
from gateway.web.dicomweb import ROOT as DICOMWEB


def fhir_destinations(settings: Settings) -> tuple[Destination, ...]:
    """Who is told about studies by FHIR."""
    return tuple(
        Destination(
            name=name,
            url=one.url,
            release=one.release,
            write=Write(one.write),
            auth=proof_of(one.auth),
            certificate=certificate_of(one.auth),
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


def _same_server(settings: Settings, name: str, url: str) -> frozenset[str]:
    """The sources on the destination's own server: those with its base URL and, where it gives none, its name."""
    sources = settings.fhir.sources.items()
    return frozenset(
        other for other, one in sources if (one.base_url or (url if other == name else "")) == url
    )


def hl7_destinations(settings: Settings) -> tuple[hl7.Destination, ...]:
    """Who is told about orders and studies by HL7 v2."""
    return tuple(
        hl7.Destination(
            name=name,
            host=one.host,
            port=one.port,
            sources=frozenset(one.sources or settings.hl7.listeners),
            zone=ZoneInfo(one.timezone or settings.site.timezone),
            tls=_tls(one) if one.tls else None,
            sender=(one.sending_application, one.sending_facility),
            receiver=(one.receiving_application, one.receiving_facility),
            processing=one.processing,
            version=one.version,
            charset=one.charset,
            events=frozenset(one.events),
            order_message=one.order_message,
            study_uid=one.study_uid,
            result_status=one.result_status,
            echo=one.echo,
            ack_timeout=timedelta(seconds=one.ack_timeout_seconds),
            max_errors=one.max_errors,
        )
        for name, one in settings.hl7.destinations.items()
    )


def _tls(one: Hl7Destination) -> hl7.Tls:
    return hl7.Tls(
        ca=one.tls_ca, certificate=one.tls_certificate, key=one.tls_key, name=one.tls_name or one.host
    )
