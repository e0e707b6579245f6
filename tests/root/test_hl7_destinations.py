from typing import Any

import pytest
from pydantic import ValidationError

from gateway.destinations import hl7_destinations
from gateway.settings import Settings

RIS = {"host": "ris.example", "port": 2576}


def test_a_destination_hears_of_every_listeners_orders_in_the_sites_zone() -> None:
    settings = Settings.model_validate(
        {"hl7": {"destinations": {"reports": RIS}}, "site": {"timezone": "Europe/London"}}
    )
    (one,) = hl7_destinations(settings)
    assert (one.sources, one.zone.key, one.tls) == (frozenset({"ris"}), "Europe/London", None)


def test_tls_expects_the_hosts_name_unless_told_another() -> None:
    for more, name in (({}, "ris.example"), ({"tls_name": "ris"}, "ris")):
        settings = Settings.model_validate({"hl7": {"destinations": {"r": RIS | {"tls": True} | more}}})
        (one,) = hl7_destinations(settings)
        assert one.tls is not None
        assert one.tls.name == name


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"charset": "KLINGON"}, "no character set"),
        ({"charset": "UNICODE UTF-16"}, "no character set"),
        ({"order_message": "OMG^O19", "version": "2.3.1"}, "from version 2.4 on"),
        ({"tls_ca": "ca.pem"}, "tls: must be true"),
        ({"tls": True, "tls_key": "k.pem"}, "tls_key: of no use"),
        ({"sources": ["nobody"]}, "there is no listener or source 'nobody'"),
        ({"events": ["finished"]}, "Input should be"),
        ({"timezone": "Mars"}, "not a time zone"),
    ],
)
def test_what_cannot_work_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate({"hl7": {"destinations": {"reports": RIS | more}}})


def test_one_name_is_one_destination() -> None:
    both = {
        "hl7": {"destinations": {"ehr": RIS}},
        "fhir": {"destinations": {"ehr": {"url": "http://ehr.example"}}},
    }
    with pytest.raises(ValidationError, match="a destination of FHIR has the same name"):
        Settings.model_validate(both)
