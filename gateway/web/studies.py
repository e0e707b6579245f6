"""One study: every thumbnail and every measurement."""

from itertools import groupby

from starlette.responses import Response

from gateway.model.errors import NotFound
from gateway.model.ids import InstanceId, StudyId
from gateway.model.study import StudyState
from gateway.store import aside, changes, orders, studies
from gateway.web.listing import row_of
from gateway.web.notice import notice_of
from gateway.web.orders import record_view
from gateway.web.site import Site, Visit, go_saying, render

_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_THUMBNAIL_S = 3600


def show(site: Site, visit: Visit) -> Response:
    """The study's page. That somebody opened it is recorded. Raises NotFound."""
    study_id = StudyId(visit.number("id"))
    with site.ports.database.read() as tx:
        since = changes.latest(tx)
        study = studies.show(tx, study_id)
        order = orders.show(tx, study.order_id) if study.order_id is not None else None
        set_aside = aside.of_study(tx, study_id)
    if not visit.is_fragment:
        record_view(site, visit, "study", study_id)
    return render(
        site,
        visit,
        "study.html",
        since=since,
        study=study,
        set_aside=set_aside,
        row=row_of(site.ports, order, (study,), ()) if order else None,
        groups=[
            (context, list(found)) for context, found in groupby(study.measurements, lambda m: m.context)
        ],
        is_receiving=study.state is StudyState.RECEIVING,
        notice=notice_of(site, visit),
    )


def thumbnail(site: Site, visit: Visit) -> Response:
    """The picture's bytes, PNG or JPEG. Raises NotFound when there is none."""
    instance_id = InstanceId(visit.number("iid"))
    with site.ports.database.read() as tx:
        instance = studies.instance(tx, instance_id)
    if not instance.thumbnail:
        raise NotFound(f"image {instance_id}: it has no picture")
    try:
        picture = site.ports.files.path(instance.thumbnail).read_bytes()
    except FileNotFoundError:
        raise NotFound(f"image {instance_id}: its picture is gone") from None
    kind = next((kind for mark, kind in _KINDS if picture.startswith(mark)), None)
    if kind is None:
        raise NotFound(f"image {instance_id}: its picture is of no known kind")
    return Response(picture, media_type=kind, headers={"Cache-Control": f"private, max-age={_THUMBNAIL_S}"})


def complete(site: Site, visit: Visit) -> Response:
    """The study is whole: no more images are awaited. Raises NotFound, Conflict."""
    study_id = StudyId(visit.number("id"))
    site.complete(study_id, visit.actor)
    return go_saying(site, visit.back(f"/studies/{study_id}"), f"completed.{study_id}")
