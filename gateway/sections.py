"""The sections of gateway.toml: every key, its default and its limits."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.flow.ports import Release
from gateway.hl7.destination import Event, StudyUid
from gateway.kinds import (
    AeTitle,
    Charset,
    Codec,
    Criteria,
    Hours,
    Network,
    Peer,
    Port,
    Subject,
    Url,
    Zone,
    zone,
)
from gateway.proof_sections import Proof, PushProofs


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Site(_Section):
    """The place the gateway stands in."""

    name: str = "Imaging order gateway"
    timezone: Zone = "UTC"


class Store(_Section):
    """Where everything durable is."""

    url: str = "sqlite:///var/gateway.db"
    files: Path = Path("var/images")


class PortTls(_Section):
    """A port's certificate files (PEM), and who signs the certificates of those who connect."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Http(_Section):
    """The page, the FHIR endpoint and the health checks."""

    bind: str = "0.0.0.0"
    port: Port = 5000
    tls: PortTls | None = None  # with `client_ca` a client may show a certificate, but browsers have none
    public_url: Url | None = None  # how other systems reach this port, through a proxy or not
    secure_cookies: bool = False  # true behind a TLS proxy: the session cookie then never travels in clear

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the page by TLS alone."""
        return self.tls is not None or self.secure_cookies

    def address(self, host: str) -> str:
        """Where the page is, for who reaches this computer as `host`; ends with a slash."""
        shown = f"[{host}]" if ":" in host else host
        return f"http{'s' if self.tls else ''}://{shown}:{self.port}/"

    @property
    def is_local(self) -> bool:
        """Whether only programs on this computer can connect."""
        return self.bind in {"127.0.0.1", "::1", "localhost"}


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


class Listener(_Section):
    """An MLLP port that takes HL7 v2 messages."""

    port: Port
    bind: str = "0.0.0.0"
    fallback_charset: Codec = "cp1252"  # for bytes that are neither what MSH-18 says nor UTF-8
    max_megabytes: int = Field(default=16, ge=1, le=512)
    max_connections: int = Field(default=50, ge=1)
    quiet_minutes: int = Field(default=0, ge=0)  # silent for longer in `hours` is reported; 0: never
    hours: Hours = ""
    frame_timeout_seconds: float = Field(default=30, gt=0)  # a message that has begun must go on within
    tls: PortTls | None = None  # with `client_ca` each client must show a certificate
    allow: tuple[Network, ...] = ()  # none: everybody
    allow_subjects: tuple[Subject, ...] = ()  # of the clients' certificates; none: every one that is verified
    senders: tuple[str, ...] = ()  # "MSH-3|MSH-4"; none: all. So with the next two
    processing_ids: tuple[str, ...] = ()  # MSH-11.1
    versions: tuple[str, ...] = ()  # MSH-12.1
    ack: Literal["after-mapping", "after-commit"] = "after-mapping"  # when the answer leaves
    hold_answer: Literal["accept", "error"] = "accept"  # what is said to a message that waits for a person
    http_auth: Auth = Auth()  # for POST /hl7/NAME

    @field_validator("http_auth")
    @classmethod
    def _checkable(cls, auth: Auth) -> Auth:
        if auth.header is not None:
            raise ValueError("a sender proves itself by bearer or basic")
        return auth

    @model_validator(mode="after")
    def _subjects_are_shown(self) -> Self:
        if self.allow_subjects and (self.tls is None or self.tls.client_ca is None):
            raise ValueError("allow_subjects: needs tls.client_ca, else no client shows a certificate")
        return self


class WatchSection(_Section):
    """When a person should look, and who may read the figures."""

    max_held: int = Field(default=20, ge=0)  # messages that wait for a person
    max_connects: int = Field(default=20, ge=1)  # of one listener's senders, in connects_minutes
    connects_minutes: int = Field(default=10, ge=1, le=24 * 60)
    metrics_token: str = ""  # for /metrics; "": only programs on this computer may read them


class Hl7Destination(_Section):
    """Who is told about orders and studies by HL7 v2."""

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    tls: bool = False
    tls_ca: Path | None = None  # none: the computer's own authorities
    tls_certificate: Path | None = None
    tls_key: Path | None = None  # none: it stands in the file of the certificate
    tls_name: str = ""  # the name in the server's certificate; empty: the host
    sending_application: str = "GATEWAY"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing: Literal["P", "T", "D"] = "P"
    version: Literal["2.3.1", "2.4", "2.5.1"] = "2.5.1"
    charset: Charset = "UNICODE UTF-8"
    timezone: str = ""  # empty: the site's
    events: tuple[Event, ...] = (
        Event.STARTED,
        Event.COMPLETED,
        Event.CANCELLED,
        Event.DISCONTINUED,
        Event.RESULTS,
    )
    order_message: Literal["ORM^O01", "OMG^O19"] = "ORM^O01"
    study_uid: StudyUid = StudyUid.AUTO
    result_status: Literal["F", "P"] = "F"
    sources: tuple[str, ...] = ()  # empty: every listener
    echo: bool = False
    ack_timeout_seconds: float = Field(default=30, gt=0, le=600)
    max_errors: int = Field(default=5, ge=1)

    @field_validator("timezone")
    @classmethod
    def _zone_or_none(cls, name: str) -> str:
        return zone(name) if name else ""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.order_message == "OMG^O19" and self.version == "2.3.1":
            raise ValueError("order_message: OMG^O19 is in HL7 from version 2.4 on")
        if self.tls_key and not self.tls_certificate:
            raise ValueError("tls_key: of no use without tls_certificate")
        if not self.tls and (self.tls_ca or self.tls_certificate or self.tls_name):
            raise ValueError("tls: must be true for the other tls keys to count")
        return self


class Hl7(_Section):
    """Who may send HL7 v2, and who is told by it."""

    listeners: dict[str, Listener] = {"ris": Listener(port=2575)}
    destinations: dict[str, Hl7Destination] = {}


class Station(_Section):
    """A machine."""

    ae_title: AeTitle
    name: str = ""
    modality: str = ""
    profile: str = ""  # a machine profile's name; "": the one that knows the machine
    host: str = ""  # where it listens for storage commitment reports; "": nowhere
    port: Port = 104
    tls: bool = False
    hosts: tuple[Network, ...] = ()  # where it may call from; none: from anywhere


class Subscribe(_Section):
    """The Subscription by which a source pushes."""

    form: Literal["r4", "backport", "r5"] = "r4"
    endpoint: Url  # ours, as the source reaches it
    criteria: Criteria | Literal[""] = ""
    topic: str = ""
    headers: tuple[str, ...] = Field(default=(), repr=False)  # "Authorization: Bearer ..."
    payload: Literal["full-resource", "id-only", "empty"] = "full-resource"
    heartbeat_seconds: int = Field(default=0, ge=0)
    days: float = Field(default=0, ge=0)  # until it ends, unless it is renewed; 0: it has no end

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.form == "r4" and (not self.criteria or self.topic):
            raise ValueError('criteria: needed in the form "r4", and topic is not')
        if self.form != "r4" and not self.topic:
            raise ValueError(f'topic: needed in the form "{self.form}"')
        if self.form == "r4" and (self.payload == "id-only" or self.heartbeat_seconds):
            raise ValueError('the form "r4" knows neither id-only nor heartbeats')
        return self


class Poll(_Section):
    """How a source is looked through for what was missed."""

    criteria: Criteria  # "ServiceRequest?category=..."
    minutes: float = Field(
        default=0, ge=0
    )  # every so often; 0: at the start and when something was missed alone
    first_days: float = Field(default=1, gt=0)  # how far back the first look goes
    event_numbers: bool = True  # whether the numbers of its notifications tell that one was missed
    heartbeat_seconds: float = Field(default=0, ge=0)  # how often it says that it is there; 0: it does not


class FhirSource(_Section):
    """Who may push orders to /fhir/{name}."""

    auth: PushProofs = ()  # none: whoever reaches the port may push, from this computer alone
    base_url: Url | None = None
    read_auth: Proof = Proof()  # how we prove ourselves there when we read
    patience_minutes: float = Field(default=5, gt=0)  # a message waits so long for what must be read
    subscribe: Subscribe | None = None  # none: somebody else sees to it that the source pushes
    poll: Poll | None = None  # none: what was not pushed is not looked for
    release: Literal["R4", "R4B", "R5"] = "R4"  # where its resources do not show it
    owners: tuple[
        str, ...
    ] = ()  # whom its Tasks are for, if for us: "Organization/1", "system|value"; none: all
    fresh_minutes: float = Field(
        default=60, gt=0
    )  # what is held longer is read again before an order needs it

    @model_validator(mode="after")
    def _can_be_polled(self) -> Self:
        if self.base_url is None and (self.poll is not None or self.subscribe is not None):
            raise ValueError("poll, subscribe: need base_url, else there is nobody to ask")
        return self


class FhirDestination(_Section):
    """Who is told about studies."""

    url: Url
    release: Literal["R4", "R5"] = "R4"
    write: Literal[
        "auto",
        "transaction",
        "conditional-update",
        "conditional-create",
        "search-then",
        "put-id",
        "message",
        "webhook",
    ] = "transaction"
    auth: Proof = Proof()
    signing_secret: str = Field(default="", repr=False)  # of a webhook; "": nothing is signed
    order_update: Literal["none", "task", "servicerequest", "both"] = "task"
    in_flight: int = Field(default=4, ge=1, le=32)  # deliveries on their way at once, of one study only one
    instances: Literal["all", "none", "limited"] = "limited"  # the list of them; they are always counted
    max_instances: int = Field(default=2000, ge=1)  # in the list, when it is limited
    observations: bool = True  # what machines measured
    report: bool = False  # a DiagnosticReport that gathers it
    provenance: bool = False
    registered: bool = False  # a study is told when its order is sent
    dicomweb: bool = False  # told that images can be had from our own DICOMweb
    dicomweb_url: Url | None = None  # where else they can be had


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
