"""Examine: the thumbnail and the measurements of received objects, read in another process."""

import logging
from collections.abc import Callable
from pathlib import Path

from gateway.flow.ports import Ports
from gateway.imaging.worker import Examined
from gateway.model.ids import InstanceId
from gateway.model.study import PictureState
from gateway.store import studies

log = logging.getLogger(__name__)


def examine_pending(ports: Ports, examine: Callable[[Path], Examined]) -> int:
    """How many objects were examined; 0 when none waited. An object is examined again if we die before the commit."""
    with ports.database.read() as tx:
        waiting = studies.unexamined(tx)
    for instance_id, path in waiting:
        _examine(ports, instance_id, path, examine(ports.files.path(path)))
    return len(waiting)


def _examine(ports: Ports, instance_id: InstanceId, path: str, found: Examined) -> None:
    thumbnail = ports.files.keep_thumbnail(path, found.thumbnail) if found.thumbnail else ""
    if found.failure:
        log.warning("picture.failed", extra={"instance": instance_id, "reason": found.failure})
    with ports.database.write() as tx:
        studies.examined(
            tx,
            instance_id,
            picture=_state(found),
            thumbnail=thumbnail,
            found=found.measurements,
            at=ports.clock(),
        )


def _state(found: Examined) -> PictureState:
    if found.thumbnail:
        return PictureState.READY
    return PictureState.FAILED if found.failure else PictureState.NONE
