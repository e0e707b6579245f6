"""What the keys of gateway.toml may hold: texts that are checked before anything starts."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from gateway.dicom.access import read_known
from gateway.hl7.charset import check_codec, codec_of
from gateway.model.connection import read_subject
from gateway.model.errors import Invalid
from gateway.model.hours import read_hours
from gateway.model.network import read_network

Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free one


def _ae_title(text: str) -> str:
    """Source: DICOM PS3.5 6.2, VR AE."""
    if (
        not 0 < len(text) <= 16
        or text != text.strip()
        or "\\" in text
        or not text.isascii()
        or not text.isprintable()
    ):
        raise ValueError("an AE title has 1 to 16 ASCII characters, no backslash, no blanks at the ends")
    return text


def zone(name: str) -> str:
    """The name of a time zone. Raises ValueError for one that is not known."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a time zone name such as Europe/London") from None
    return name


def _hours(text: str) -> str:
    try:
        read_hours(text)
    except Invalid as error:
        raise ValueError(str(error)) from None
    return text


def _network(text: str) -> str:
    try:
        read_network(text)
    except Invalid as error:
        raise ValueError(str(error)) from None
    return text


def _subject(text: str) -> str:
    try:
        read_subject(text)
    except Invalid as error:
        raise ValueError(str(error)) from None
    return text


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("an address that begins with http:// or https://")
    return url.rstrip("/")


def _msh_18(name: str) -> str:
    try:
        codec_of(name)
    except Invalid:
        raise ValueError("no character set of HL7 table 0211, such as UNICODE UTF-8 or 8859/1") from None
    return name


def _codec(name: str) -> str:
    try:
        return check_codec(name)
    except Invalid:
        raise ValueError("no character set that Python knows, such as cp1252 or latin-1") from None


def _peer(text: str) -> str:
    try:
        read_known(text)
    except Invalid as error:
        raise ValueError(str(error)) from None
    return text


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Peer = Annotated[str, AfterValidator(_peer)]  # TITLE, TITLE@ADDRESS or *@ADDRESS
Url = Annotated[str, AfterValidator(_http_url)]


def _search(text: str) -> str:
    kind, _, wanted = text.partition("?")
    if not (kind.isascii() and kind.isalpha()):
        raise ValueError(
            'must be a search such as "ServiceRequest?category=http://snomed.info/sct|363679005"'
        )
    if any(part.partition("=")[0].partition(":")[0] == "status" for part in wanted.split("&")):
        raise ValueError("must not ask for a status: an order that is cancelled would no longer be found")
    return text


Criteria = Annotated[str, AfterValidator(_search)]  # a FHIR search that finds orders
Network = Annotated[str, AfterValidator(_network)]  # "10.0.0.0/8", "192.0.2.7"
Subject = Annotated[str, AfterValidator(_subject)]  # "CN=ris,O=Hospital"
Charset = Annotated[str, AfterValidator(_msh_18)]
Codec = Annotated[str, AfterValidator(_codec)]
Hours = Annotated[str, AfterValidator(_hours)]  # "Mon-Fri 07:00-19:00"; "": always
Zone = Annotated[str, AfterValidator(zone)]
