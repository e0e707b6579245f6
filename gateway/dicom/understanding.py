"""What a query means, after what is known of the machine that asks."""

from dataclasses import replace
from datetime import date, timedelta, timezone

from gateway.dicom.profiles import Profile, Station
from gateway.model.worklist import Match, Range, WorklistQuery


def understood(query: WorklistQuery, profile: Profile, peer: str, today: date) -> WorklistQuery:
    """The query with the station and the days that the profile puts in.

    Days are put in only where nobody and nothing in particular is asked for: who looks for a patient means any day.
    """
    if profile.asked_station is Station.CALLING:
        query = replace(query, station=Match(values=(peer,)))
    elif profile.asked_station is Station.ANY:
        query = replace(query, station=None)
    if profile.days is None or query.date is not None or _is_particular(query):
        return query
    before, after = (timedelta(days=count) for count in profile.days)
    return replace(query, date=Range(first=_written(today - before), last=_written(today + after)))


def narrowed(query: WorklistQuery, zone: timezone | None) -> WorklistQuery:
    """At least what the query asks, in the site's own days, where it is asked in another zone."""
    if zone is None:
        return query
    days = query.date
    if days is not None:
        first = _shifted(days.first, -1) if days.first else ""
        days = Range(first=first, last=_shifted(days.last, 1) if days.last else "")
    return replace(query, date=days, time=None)


def _is_particular(query: WorklistQuery) -> bool:
    keys = (
        query.patient_name,
        query.patient_id,
        query.accession,
        query.procedure_id,
        query.study_uid,
        query.step_id,
    )
    return any(key is not None for key in keys)


def _shifted(day: str, count: int) -> str:
    read = date(int(day[:4]), int(day[4:6]), int(day[6:]))
    try:
        return _written(read + timedelta(days=count))
    except OverflowError:
        return day


def _written(day: date) -> str:
    return day.strftime("%Y%m%d").zfill(8)
