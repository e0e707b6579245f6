"""What every answer of DICOMweb is given: the service it is part of, and the request with who asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse

from gateway.flow.ports import Ports
from gateway.model.errors import NotFound
from gateway.store import held_objects
from gateway.store.held_objects import HeldObject
from gateway.web.dicomweb import ROOT
from gateway.web.dicomweb.accept import JSON
from gateway.web.dicomweb.admission import Reader
from gateway.web.dicomweb.keys import read_uid
from gateway.web.dicomweb.trail import Trail


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Our DICOMweb."""

    ports: Ports
    public_url: (
        str  # our address as others reach it, without a slash at the end; "": the one a request came to
    )
    trail: Trail = field(default_factory=Trail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request of somebody who may read."""

    service: Service
    request: Request
    reader: Reader

    @property
    def root(self) -> str:
        """The service's own address, for those who asked."""
        here = self.service.public_url or str(self.request.base_url).rstrip("/")
        return here + ROOT

    @property
    def is_head(self) -> bool:
        """Whether only the headers are wanted."""
        return self.request.method == "HEAD"

    def uid(self, name: str) -> str:
        """The UID at that place of the address, "" when it has no such place. Raises Malformed."""
        text = self.request.path_params.get(name)
        return "" if text is None else read_uid(text, f"{name} (address)")

    def objects(self) -> tuple[HeldObject, ...]:
        """The objects that the address names; that they were asked for is recorded. Raises Malformed, NotFound."""
        study, series, instance = (self.uid(name) for name in ("study", "series", "instance"))
        ports = self.service.ports
        with ports.database.read() as tx:
            found = held_objects.held(tx, study, series, instance, with_doubtful=self.reader.sees_doubtful)
        if not found:
            raise NotFound("there is nothing of that name here")
        self.service.trail.study(ports, self.reader.actor, found[0].study_id)
        return found


class DicomJson(JSONResponse):
    """DICOM JSON. Source: DICOM PS3.18 F."""

    media_type = JSON

    def __init__(self, content: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, headers=dict(headers or {}))
