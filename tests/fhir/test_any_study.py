"""Whatever machines and people write, what is told of it is FHIR."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.fhir.conformity import faults
from gateway.fhir.destination import Destination, Instances
from gateway.fhir.news import outgoing
from gateway.model.ids import Uid
from gateway.model.measurement import Circumstances, Code, Measurement, Report
from gateway.model.study import Series, SeriesFacts, Study, StudyFacts

LONDON = ZoneInfo("Europe/London")
ODD = st.sampled_from(
    ["", " ", "\0", "\ud800", "^^^^", "a\\b", "\u202e", "20261301", "-1", "9" * 30, "+9999", "T^\t"]
)
TEXT = st.one_of(ODD, st.text(max_size=20))
CODES = st.builds(
    Code,
    value=TEXT,
    scheme=st.one_of(st.sampled_from(["SCT", "LN", "DCM", "SRT", "UCUM", "99X"]), TEXT),
    meaning=TEXT,
)
FACTS = st.builds(
    SeriesFacts,
    date=st.one_of(TEXT, st.dates().map("{:%Y%m%d}".format)),
    time=st.one_of(TEXT, st.times().map("{:%H%M%S.%f}".format)),
    zone_offset=TEXT,
    body_part=st.one_of(st.just("CHEST"), TEXT),
    region=st.none() | CODES,
    laterality=st.sampled_from(["", "L", "R", "B", "U", "x"]),
    performing=TEXT,
    operators=TEXT,
    station=TEXT,
)
REPORTS = st.builds(
    Report, sop_uid=st.sampled_from(["", "1.2.3", "1.2.4"]), is_complete=st.booleans(), is_verified=st.booleans(),
    is_preliminary=st.booleans(), replaces=st.just(()), date=TEXT, time=TEXT, zone_offset=TEXT,
)  # fmt: skip
MEASUREMENTS = st.builds(
    Measurement,
    name=CODES,
    value=st.one_of(TEXT, st.decimals(allow_nan=False, allow_infinity=False).map(str)),
    unit=st.none() | CODES,
    context=st.just(()),
    path=st.from_regex(r"1(\.[1-9]){1,3}", fullmatch=True),
    circumstances=st.builds(
        Circumstances,
        subject=TEXT,
        modifiers=st.lists(st.tuples(CODES, CODES), max_size=3).map(tuple),
        qualifier=st.none() | CODES,
        observation_uid=TEXT,
        report=st.none() | REPORTS,
    ),
)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        yield tree
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(inner)
    else:
        yield tree


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=120,
    deadline=None,
)
@given(drawn=st.data(), release=st.sampled_from(["R4", "R5"]), count=st.sampled_from([0, 1, 3, 1000]))
def test_any_study_is_told_as_fhir_has_it(
    single: Study,
    caplog: pytest.LogCaptureFixture,
    drawn: st.DataObject,
    release: Literal["R4", "R5"],
    count: int,
) -> None:
    (series,) = single.series
    (instance,) = series.instances

    def one(number: int) -> Series:
        odd = replace(instance, number=drawn.draw(TEXT), title=drawn.draw(TEXT))
        return replace(
            series,
            series_uid=Uid(f"2.25.{number}"),
            modality=drawn.draw(TEXT),
            number=drawn.draw(TEXT),
            description=drawn.draw(TEXT),
            instances=(odd,) * count,
            facts=drawn.draw(FACTS),
        )

    begun = st.datetimes(timezones=st.just(UTC)) | st.none() | st.just(datetime(1, 1, 1, tzinfo=UTC))
    study = replace(
        single,
        accession=drawn.draw(TEXT),
        patient_id=drawn.draw(TEXT),
        issuer=drawn.draw(TEXT),
        description=drawn.draw(TEXT),
        study_date=drawn.draw(TEXT),
        started=drawn.draw(begun),
        doubt=drawn.draw(st.sampled_from(["", "", "", "doubt"])),
        series=tuple(one(number) for number in range(drawn.draw(st.integers(0, 2)))),
        measurements=tuple(drawn.draw(st.lists(MEASUREMENTS, max_size=4))),
        facts=StudyFacts(
            zone_offset=drawn.draw(TEXT),
            accession_issuer=drawn.draw(TEXT),
            referring=drawn.draw(TEXT),
            procedure=tuple(drawn.draw(st.lists(CODES, max_size=2))),
        ),
    )
    to = Destination(
        name="ehr", url="https://ehr.example", release=release, report=True, provenance=True,
        instances=drawn.draw(st.sampled_from(Instances)), dicomweb_url="https://pacs.example/dicom-web",
    )  # fmt: skip
    caplog.clear()
    (news,) = outgoing(study, (), (to,), LONDON)
    assert caplog.records == []
    tree = json.loads(news.payload)
    assert [leaf for leaf in _leaves(tree) if leaf in ("", [], {}, None)] == []
    for entry in tree["entry"]:
        assert faults(entry["resource"], release) == ()
    urls = [entry["request"]["url"] for entry in tree["entry"]]
    assert len(set(urls)) == len(urls)
    assert all(url.isascii() and url.isprintable() and " " not in url for url in urls)
