"""Who is told about studies, and how they take them."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from gateway.fhir.credentials import Certificate, Proof


class Write(StrEnum):
    """How a study is written so that writing it twice leaves one.

    Source: FHIR R4 http.html, conditional update and transaction.
    """

    AUTO = "auto"  # the best that the server says it can do
    TRANSACTION = "transaction"
    CONDITIONAL_UPDATE = "conditional-update"
    CONDITIONAL_CREATE = "conditional-create"
    SEARCH_THEN = "search-then"
    PUT_ID = "put-id"
    MESSAGE = "message"
    WEBHOOK = "webhook"


class OrderUpdate(StrEnum):
    """Which resource of an order says there how far it is."""

    NONE = "none"
    TASK = "task"
    SERVICE_REQUEST = "servicerequest"
    BOTH = "both"


class Instances(StrEnum):
    """Whether a study is told with the list of its instances; they are counted in any case."""

    ALL = "all"
    NONE = "none"
    LIMITED = "limited"  # up to `max_instances`


_AT_ONCE = frozenset({Write.TRANSACTION, Write.MESSAGE, Write.WEBHOOK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A configured FHIR server."""

    name: str
    url: str  # its FHIR base, without a slash at the end
    release: Literal["R4", "R5"] = "R4"
    write: Write = Write.TRANSACTION
    auth: Proof | None = None
    certificate: Certificate | None = None  # our own, where the server asks for one
    signing_secret: str = field(default="", repr=False)  # signs what a webhook is told; "": nothing is signed
    order_update: OrderUpdate = OrderUpdate.TASK
    in_flight: int = 4  # so many deliveries are on their way at once
    # The FHIR sources that live on this same server, so that "Patient/7" of theirs is its Patient/7.
    # None: the source of the same name.
    sources: frozenset[str] | None = None
    instances: Instances = Instances.LIMITED
    max_instances: int = 2000
    observations: bool = True  # what machines measured is told beside the study
    report: bool = False  # and gathered in a DiagnosticReport
    provenance: bool = False
    registered: bool = False  # a study is told when its order is sent, before there are images
    dicomweb_url: str = ""  # where images can be had, without a slash at the end; "": nothing is said of that

    @property
    def is_r5(self) -> bool:
        """Whether it takes R5's form of a resource."""
        return self.release == "R5"

    @property
    def longest_send(self) -> timedelta:
        """No request of a delivery begins later than this after its first one."""
        return timedelta(seconds=60 if self.write in _AT_ONCE else 300)

    @property
    def lease(self) -> timedelta:
        """A delivery is another worker's only after this."""
        return self.longest_send + timedelta(minutes=1)

    def knows(self, source: str) -> bool:
        """Whether references of an order from `source` mean the same thing on this server."""
        return source in (self.sources if self.sources is not None else {self.name})
