"""What headers and reports say for those who are told of a study, as JSON columns hold it."""

from dataclasses import asdict
from typing import Any

from gateway.model.measurement import Circumstances, read_circumstances, read_code
from gateway.model.study import SeriesFacts, StudyFacts


def plain(facts: StudyFacts | SeriesFacts | Circumstances) -> dict[str, Any] | None:
    """The facts as a column holds them; None, the column's default, when there are none."""
    return asdict(facts) if facts != type(facts)() else None


def read_study(found: dict[str, Any] | None) -> StudyFacts:
    """The facts of a study; what was stored before they were read has none."""
    if not found:
        return StudyFacts()
    return StudyFacts(**{**found, "procedure": tuple(read_code(code) for code in found["procedure"])})


def read_series(found: dict[str, Any] | None) -> SeriesFacts:
    """The facts of a series."""
    if not found:
        return SeriesFacts()
    region = found["region"]
    return SeriesFacts(**{**found, "region": None if region is None else read_code(region)})


def read_measured(found: dict[str, Any] | None) -> Circumstances:
    """What else is known of a measurement."""
    return read_circumstances(found) if found else Circumstances()
