"""The page templates: escaping everything, strict about names, and speaking through `wording`."""

from datetime import date, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.flow.ports import Ports
from gateway.model.lifecycle import State
from gateway.model.user import Permission
from gateway.web import wording
from gateway.web.assets import address

_FOLDER = Path(__file__).parent / "templates"


def environment(ports: Ports) -> Environment:
    """The templates with times on the site's clock and machines by their names."""
    pages = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    zone = ports.zone

    def clock(instant: datetime | None) -> str:
        return wording.clock_words(instant, zone)

    def moment(instant: datetime | None) -> str:
        return wording.moment_words(instant, zone)

    def age(birth: str) -> str:
        return wording.age_words(birth, ports.clock().astimezone(zone).date())

    def local_day(instant: datetime) -> date:
        return instant.astimezone(zone).date()

    def machine(ae_title: str) -> str:
        return wording.station_name(ports.stations, ae_title)

    pages.filters.update(
        clock=clock,
        moment=moment,
        age=age,
        local_day=local_day,
        machine=machine,
        day=wording.day_words,
        near_day=wording.near_day_words,
        birth=wording.birth_words,
        sex=wording.sex_words,
        person=wording.person_words,
        measured=wording.measurement_words,
        size=wording.size_words,
        keyword=wording.keyword_words,
        actor=wording.actor_words,
        deed=wording.deed_words,
        news=wording.news_words,
        exam=wording.exam_words,
        asked=wording.asked_words,
    )
    pages.globals.update(
        asset=address,
        Permission=Permission,
        State=State,
        ORDER_CHIPS=wording.ORDER_CHIPS,
        STUDY_CHIPS=wording.STUDY_CHIPS,
        MESSAGE_CHIPS=wording.MESSAGE_CHIPS,
        DELIVERY_CHIPS=wording.DELIVERY_CHIPS,
    )
    return pages
