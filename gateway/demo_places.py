"""Where the parties of a demo meet: ports, secrets and the gateway's configuration."""

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.settings import Settings

HOST = "127.0.0.1"
QUIET_S = 3.0

_MAPPINGS = Path(__file__).parents[1] / "mappings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The five ports of a demo."""

    http: int = 5000
    hl7: int = 2575
    worklist: int = 11112
    storage: int = 11113
    ehr: int = 8090


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What the parties of one demo know each other by; made anew each time."""

    password: str
    source_token: str
    ehr_token: str


def free_places() -> Places:
    """The usual ports, each replaced by a free one when something else has it."""
    usual, taken = Places(), set[int]()

    def choose(port: int) -> int:
        chosen = port if _is_free(port) and port not in taken else _any_free(taken)
        taken.add(chosen)
        return chosen

    return Places(
        http=choose(usual.http),
        hl7=choose(usual.hl7),
        worklist=choose(usual.worklist),
        storage=choose(usual.storage),
        ehr=choose(usual.ehr),
    )


def counted_places(first: int) -> Places:
    """Five ports from `first` on: page, HL7, worklist, storage, EHR."""
    return Places(http=first, hl7=first + 1, worklist=first + 2, storage=first + 3, ehr=first + 4)


def settings_of(folder: Path, places: Places, known: Secrets) -> Settings:
    """The configuration of a demo whose files are in `folder`, in this computer's own time."""
    ehr_base = f"http://{HOST}:{places.ehr}/fhir"
    sections: dict[str, Any] = {
        "site": {"name": "Demo clinic", "timezone": _zone_name(time.localtime().tm_gmtoff)},
        "store": {"url": f"sqlite:///{folder / 'gateway.db'}", "files": folder / "images"},
        "mappings": {"folder": _MAPPINGS},
        "http": {"bind": HOST, "port": places.http},
        "dicom": {"bind": HOST, "worklist_port": places.worklist, "storage_port": places.storage},
        "hl7": {"listeners": {"ris": {"bind": HOST, "port": places.hl7}}},
        "stations": [
            {"ae_title": "US1", "name": "Ultrasound 1", "modality": "US"},
            {"ae_title": "US2", "name": "Ultrasound 2", "modality": "US"},
        ],
        "fhir": {
            "sources": {"ehr": {"auth": {"bearer": known.source_token}, "base_url": ehr_base}},
            "destinations": {
                "ehr": {"url": ehr_base, "write": "conditional-update", "auth": {"bearer": known.ehr_token}}
            },
        },
        "study": {"quiet_seconds": QUIET_S},
    }
    return Settings(**sections)


def _is_free(port: int) -> bool:
    try:
        with socket.create_server((HOST, port)):
            return True
    except OSError:
        return False


def _any_free(taken: set[int]) -> int:
    while True:
        with socket.create_server((HOST, 0)) as opened:
            port = int(opened.getsockname()[1])
        if port not in taken:
            return port


def _zone_name(offset_s: int) -> str:
    """A time zone with this computer's offset; the names count westwards. Zones of half hours become UTC."""
    hours, rest = divmod(offset_s, 3600)
    return f"Etc/GMT{-hours:+d}" if hours and not rest else "UTC"
