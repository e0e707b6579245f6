"""QIDO-RS: studies, series and instances are found. Source: DICOM PS3.18 10.6."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from starlette.responses import Response

from gateway.model.errors import NotFound
from gateway.store import held_objects, study_search
from gateway.web.dicomweb.accept import JSON, check, ranges
from gateway.web.dicomweb.asked import Asked, DicomJson
from gateway.web.dicomweb.attributes import Json, instance_json, series_json, study_json
from gateway.web.dicomweb.keys import Level, Search, narrowed, read_search

_Found = TypeVar("_Found")

_NOT_FUZZY = (
    '299 dicom-web "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
)
_MORE = '299 dicom-web "There are more results than were asked for or are given at once. Ask on with offset."'
"""Source: DICOM PS3.18 8.3.4.2 and 8.3.4.4, Warning header fields."""


def studies(asked: Asked) -> Response:
    """The studies looked for, the newest first."""
    search = _understood(asked, Level.STUDIES)
    service = asked.service
    wanted = replace(narrowed(search), with_doubtful=asked.reader.sees_doubtful)
    with service.ports.database.read() as tx:
        found = study_search.find_studies(tx, wanted, limit=search.limit + 1, offset=search.offset)
    zone = service.ports.zone
    return _answer(search, found, lambda study: study_json(study, asked.root, zone))


def series(asked: Asked) -> Response:
    """The series looked for, of the study that the address names or of all."""
    search = _understood(asked, Level.SERIES)
    study = _named(asked)
    wanted = replace(narrowed(search, study_uids=study), with_doubtful=asked.reader.sees_doubtful)
    with asked.service.ports.database.read() as tx:
        found = study_search.find_series(tx, wanted, limit=search.limit + 1, offset=search.offset)
    zone = asked.service.ports.zone
    return _answer(search, found, lambda one: series_json(one, asked.root, zone, with_study=not study))


def instances(asked: Asked) -> Response:
    """The instances looked for, of the study and series that the address names or of all."""
    search = _understood(asked, Level.INSTANCES)
    study, part = _named(asked), asked.uid("series")
    wanted = replace(
        narrowed(search, study_uids=study, series_uids=part), with_doubtful=asked.reader.sees_doubtful
    )
    with asked.service.ports.database.read() as tx:
        found = study_search.find_instances(tx, wanted, limit=search.limit + 1, offset=search.offset)
    zone = asked.service.ports.zone
    return _answer(
        search,
        found,
        lambda one: instance_json(one, asked.root, zone, with_study=not study, with_series=not part),
    )


def _understood(asked: Asked, level: Level) -> Search:
    """What is searched for. Raises Malformed, Unacceptable."""
    check(ranges(asked.request), JSON, "application/json")
    search = read_search(asked.request.query_params.multi_items(), level)
    asked.service.trail.search(asked.service.ports, asked.reader.actor)
    return search


def _named(asked: Asked) -> str:
    """The study of the address, "" when it names none. Raises NotFound when what it names is not here."""
    study = asked.uid("study")
    if study:
        with asked.service.ports.database.read() as tx:
            is_here = held_objects.is_held(
                tx, study, asked.uid("series"), with_doubtful=asked.reader.sees_doubtful
            )
        if not is_here:
            raise NotFound("there is nothing of that name here")
    return study


def _answer(search: Search, found: Sequence[_Found], tell: Callable[[_Found], Json]) -> Response:
    """What was found, without the one more that says that there is more. Source: DICOM PS3.18 10.6.3.1."""
    warnings = [_MORE] if len(found) > search.limit else []
    warnings += [_NOT_FUZZY] if search.is_fuzzy else []
    headers = {"Warning": ", ".join(warnings)} if warnings else {}
    if not found:
        return Response(status_code=204, headers=headers)
    return DicomJson([tell(one) for one in found[: search.limit]], headers)
