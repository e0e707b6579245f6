"""The sections of gateway.toml: every key, its default and its limits."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.dicom.access import read_known, read_network
from gateway.flow.ports import Release

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


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a time zone name such as Europe/London") from None
    return name


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("an address that begins with http:// or https://")
    return url.rstrip("/")


def _peer(text: str) -> str:
    read_known(text)
    return text


def _address(text: str) -> str:
    read_network(text)
    return text


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Peer = Annotated[str, AfterValidator(_peer)]  # TITLE, TITLE@ADDRESS or *@ADDRESS
Address = Annotated[str, AfterValidator(_address)]  # or a network, 10.1.0.0/16
Url = Annotated[str, AfterValidator(_http_url)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Site(_Section):
    """The place the gateway stands in."""

    name: str = "Imaging order gateway"
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"


class Store(_Section):
    """Where everything durable is."""

    url: str = "sqlite:///var/gateway.db"
    files: Path = Path("var/images")


class Http(_Section):
    """The page, the FHIR endpoint and the health checks."""

    bind: str = "0.0.0.0"
    port: Port = 5000
    secure_cookies: bool = False  # true behind a TLS proxy: the session cookie then never travels in clear


class DicomTls(_Section):
    """One more DICOM port, for TLS only; there is none without a certificate."""

    port: Port = 2762  # Source: DICOM PS3.8 9.1.1, dicom-tls
    certificate: Path | None = None
    key: Path | None = None
    client_authorities: Path | None = None  # who signs the machines' certificates; none: machines show none

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        return self


class Dicom(_Section):
    """The DICOM services; both ports serve all of them."""

    bind: str = "0.0.0.0"
    ae_title: AeTitle = "STORESCP"
    worklist_port: Port = 11112
    storage_port: Port = 11113
    max_associations: int = Field(default=40, ge=1)
    max_associations_per_peer: int = Field(default=20, ge=1)
    max_associations_per_minute: int = Field(default=1200, ge=1)  # of one peer
    max_object_megabytes: int = Field(default=8192, ge=1)
    allow: tuple[Peer, ...] = ()
    only_known: bool = False  # true: only the stations and whom `allow` names
    check_called_ae: bool = False  # true: only who calls us by our own AE title
    tls: DicomTls = DicomTls()


class Worklist(_Section):
    """When orders reach a machine's worklist and when they leave it."""

    release: Release = Release.MANUAL
    show_started: bool = False
    fuzzy_names: bool = False  # true: Mueller finds Müller, in any order, with a slip of the pen
    max_results: int = Field(default=0, ge=0)  # answers to one query; 0: every match
    expire_after_days: int = Field(default=3, ge=0)
    keep_receipts_days: int = Field(default=30, ge=1)


class Mappings(_Section):
    """Where the mapping modules are, and when a changed one counts."""

    folder: Path = Path("mappings")
    transforms: tuple[str, ...] = ()  # files of folder/transforms that the modules may use
    reload: Literal["auto", "manual"] = "auto"  # manual: somebody activates it on the page


class Listener(_Section):
    """An MLLP port that takes HL7 v2 messages."""

    port: Port
    bind: str = "0.0.0.0"
    fallback_charset: str = "cp1252"  # for bytes that are neither what MSH-18 says nor UTF-8
    max_megabytes: int = Field(default=16, ge=1, le=512)
    max_connections: int = Field(default=50, ge=1)


class Hl7(_Section):
    """Who may send HL7 v2."""

    listeners: dict[str, Listener] = {"ris": Listener(port=2575)}


class Station(_Section):
    """A machine."""

    ae_title: AeTitle
    name: str = ""
    modality: str = ""
    profile: str = ""  # a machine profile's name; "": the one that knows the machine
    host: str = ""  # where it listens for storage commitment reports; "": nowhere
    port: Port = 104
    tls: bool = False
    hosts: tuple[Address, ...] = ()  # where it may call from; none: from anywhere


class Auth(_Section):
    """How one side proves who it is: one of these."""

    bearer: str | None = None
    basic: tuple[str, str] | None = None  # [user, password]
    header: tuple[str, str] | None = None  # [name, value]; to destinations only

    @model_validator(mode="before")
    @classmethod
    def _none(cls, given: Any) -> Any:
        return {} if given == "none" else given

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("bearer", "basic", "header") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"only one of {', '.join(given)} can be used")
        if any(getattr(self, name) in ("", ("", "")) for name in given):
            raise ValueError("an empty secret protects nothing")
        return self

    @property
    def is_none(self) -> bool:
        """Whether nothing is asked or given."""
        return self.bearer is None and self.basic is None and self.header is None


class FhirSource(_Section):
    """Who may push orders to /fhir/{name}."""

    auth: Auth = Auth()
    base_url: Url | None = None
    release: Literal["R4", "R4B"] = "R4"

    @field_validator("auth")
    @classmethod
    def _checkable(cls, auth: Auth) -> Auth:
        if auth.header is not None:
            raise ValueError("a source proves itself by bearer or basic")
        return auth


class FhirDestination(_Section):
    """Who is told about studies."""

    url: Url
    release: Literal["R4"] = "R4"
    write: Literal["transaction", "conditional-update"] = "transaction"
    auth: Auth = Auth()


class Fhir(_Section):
    """Record systems that speak FHIR."""

    sources: dict[str, FhirSource] = {}
    destinations: dict[str, FhirDestination] = {}


class StudySection(_Section):
    """When a study is whole."""

    quiet_seconds: float = Field(default=60, gt=0)


class Pictures(_Section):
    """Limits of the worker that makes thumbnails."""

    time_limit_seconds: float = Field(default=30, gt=0)
    max_megapixels: float = Field(default=200, gt=0)


class Log(_Section):
    """The log, to the terminal and to a file that is rotated."""

    file: Path = Path("var/gateway.log")
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    max_megabytes: int = Field(default=10, ge=1)
    kept_files: int = Field(default=5, ge=1)
