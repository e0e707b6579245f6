"""The conformance statement: what a machine's supplier asks for, out of the running configuration."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.uid import UID

from gateway.dicom.access import REJECTIONS, Admission
from gateway.dicom.incoming import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from gateway.dicom.limits import MAX_PDU, MAX_PDU_TAKEN, Limits
from gateway.dicom.server import SERVICES

_MEGABYTE = 1024 * 1024
_INTRODUCTION = """\
# DICOM conformance

`gateway conformance` prints this page for the configuration it runs with; here it is with the defaults. The gateway is
an application entity that hands out a modality worklist, takes performed procedure steps and objects, and commits to
the objects it holds. It has no query/retrieve by DIMSE; docs/dicomweb.md tells what it serves by DICOMweb."""
_STORAGE = """\
Every class is stored: standard, retired and private ones, images and waveforms, reports, presentation states and key
objects, in any series. Of the transfer syntaxes that are proposed for a class the first is accepted, whichever it is,
and the object is kept in it, byte for byte. Extended negotiation is answered with level 2, bit preserving, without
coercion. The same object again is success. Another object under a known SOP Instance UID is refused with 0xC001, kept
aside and shown; the first one stays. 0xA700: no room, or larger than is stored; nothing half-written is left. 0xA900:
the data set is not what the request named. 0xC000: it cannot be read to its end."""
_COMMITMENT = """\
A request (N-ACTION 1) is durable before it is answered. The report (N-EVENT-REPORT 1 or 2) goes out on an association
that the machine has open, else on a new one to `stations[].host`, where the gateway proposes itself as the provider.
It is tried again for three days. Failure reasons: 0x0112 no such object, 0x0119 other class, 0x0110 its file is gone,
0x0131 the transaction UID was used for other objects before."""
_CHARACTER_SETS = """\
Every character set of PS3.3 C.12.1.1.2 is read, code extensions included. A worklist answer is written in the set of
the request where that holds every character, else in ISO_IR 100, else in ISO_IR 192, unless the machine's profile says
otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What of the configuration the statement tells."""

    ae_title: str
    ports: tuple[int, ...]
    tls_port: int | None  # None: no port for TLS
    asks_for_certificates: bool
    ciphers: tuple[str, ...]
    limits: Limits
    admission: Admission


def statement(facts: Facts) -> str:
    """The page, in Markdown."""
    parts = [
        _INTRODUCTION,
        "## Application entity",
        *_table(("what", "value"), _entity(facts)),
        "## Services",
    ]
    parts += _table(("SOP class", "UID", "transfer syntaxes", "role"), _services())
    parts += [
        "## Storage",
        _STORAGE,
        "## Storage commitment",
        _COMMITMENT,
        "## Character sets",
        _CHARACTER_SETS,
    ]
    parts += ["## Limits", *_table(("limit", "value"), _limits(facts.limits)), "## Access", *_access(facts)]
    reasons = [(str(reason), "/".join(map(str, codes))) for reason, codes in REJECTIONS.items()]
    parts += _table(("an association is refused because", "result/source/reason"), reasons)
    return "\n\n".join(parts) + "\n"


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [titles, ("---",) * len(titles), *rows]
    return ["\n".join(f"| {' | '.join(cells)} |" for cells in lines)]


def _entity(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "AE title", f"`{facts.ae_title}`"
    yield "ports, each for every service", ", ".join(map(str, facts.ports))
    yield "port for TLS", str(facts.tls_port) if facts.tls_port is not None else "none"
    yield "implementation class UID", f"`{IMPLEMENTATION_CLASS_UID}`"
    yield "implementation version", f"`{IMPLEMENTATION_VERSION}`"
    yield "largest PDU", f"{MAX_PDU} bytes are asked for, up to {MAX_PDU_TAKEN} are read"
    yield "asynchronous operations", "none"


def _services() -> Iterator[tuple[str, str, str, str]]:
    plain = "Explicit VR Little Endian, Implicit VR Little Endian"
    for uid in sorted(SERVICES):
        yield UID(uid).name, f"`{uid}`", plain, "SCP"
    yield "every storage class", "any", "any that is proposed", "SCP"


def _limits(limits: Limits) -> Iterator[tuple[str, str]]:
    yield "associations at once", str(limits.associations)
    yield "of one address", str(limits.associations_per_peer)
    yield "of one address in a minute", str(limits.associations_per_minute)
    yield "connections at once", str(limits.connections)
    yield "an object", f"{limits.object_bytes // _MEGABYTE} MB"


def _access(facts: Facts) -> Iterator[str]:
    admission = facts.admission
    who = "only the machines and peers that are configured" if admission.only_known else "anybody"
    called = f"calling it `{admission.called_ae}`" if admission.called_ae else "by any called AE title"
    yield f"Associations are accepted from {who}, {called}. C-ECHO is answered to everybody."
    if facts.tls_port is not None:
        shown = "must show a certificate" if facts.asks_for_certificates else "need no certificate"
        yield f"TLS is 1.2 or 1.3; machines {shown}. Cipher suites of TLS 1.2: {', '.join(facts.ciphers)}."
