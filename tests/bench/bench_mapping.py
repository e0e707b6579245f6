"""How long mapping takes here. Run by `make bench`; it prints figures and asserts nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import fhirpathpy
from fhirpathpy.models import models
from hl7apy.parser import parse_message

from gateway.mapping.bundle import read_graph
from gateway.mapping.registry import Modules
from gateway.model.er7 import read_er7

ROOT = Path(__file__).parents[2]
PATH = "identifier.where(type.coding.where(code='PLAC').exists()).value"


def main() -> None:
    """Print the least and the median time of each job, in milliseconds."""
    modules = Modules.load(ROOT / "mappings", site={"timezone": "Europe/London"})
    er7 = (ROOT / "fixtures/hl7/epic/two-orders.hl7").read_text(encoding="utf-8").replace("\n", "\r")
    er7 = er7.rstrip("\r") + "\rNTE|9||" + "x" * max(0, 1024 - len(er7))
    document = json.loads((ROOT / "mappings/examples/contained-patient.json").read_bytes())
    message = read_er7(er7)
    jobs: dict[str, Callable[[], object]] = {
        f"read a message of {len(er7)} characters, two orders": lambda: read_er7(er7),
        "map it with its trace": lambda: modules.map_hl7(message),
        "hl7apy: parse the same message": lambda: parse_message(er7, find_groups=False),
        "map a FHIR order with contained resources": lambda: modules.map_fhir(read_graph(document)),
        "fhirpathpy: one expression, not compiled": lambda: fhirpathpy.evaluate(
            document, PATH, model=models["r4"]
        ),
    }
    print(f"{'':48}{'least':>9}{'median':>9}  ms")
    for name, job in jobs.items():
        least, median = _times(job)
        print(f"{name:48}{least:9.3f}{median:9.3f}")


def _times(job: Callable[[], object], rounds: int = 400) -> tuple[float, float]:
    """The least and the median time of a job in milliseconds."""
    spans = []
    for _ in range(rounds):
        start = perf_counter()
        job()
        spans.append((perf_counter() - start) * 1000)
    return min(spans), sorted(spans)[rounds // 2]


if __name__ == "__main__":
    main()
