from datetime import UTC, datetime

import pytest

from gateway.hl7.access import TRIES, TRIES_WITHIN, Access, Tries
from gateway.model.connection import read_subject
from gateway.model.errors import Invalid
from gateway.model.network import read_network

OWNED = {
    "subject": (
        (("countryName", "DE"),),
        (("organizationName", "Hospital, General"),),
        (("commonName", "ris"),),
    )
}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize(
    ("allow", "address", "is_in"),
    [
        ((), "192.0.2.7", True),
        ((), "", True),
        (("192.0.2.7",), "192.0.2.7", True),
        (("192.0.2.7",), "192.0.2.8", False),
        (("10.0.0.0/8", "192.0.2.7"), "10.255.1.1", True),
        (("10.1.2.3/8",), "10.200.1.1", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("fd00::/8",), "fd00::1", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("fd00::/8",), "10.1.2.3", False),
        (("10.0.0.0/8",), "", False),
        (("10.0.0.0/8",), "somebody", False),
    ],
)
def test_an_address_is_admitted_by_the_networks(allow: tuple[str, ...], address: str, is_in: bool) -> None:
    assert Access(networks=tuple(map(read_network, allow))).admits_address(address) is is_in


@pytest.mark.parametrize(
    ("allow", "is_in"),
    [
        ((), True),
        (("CN=ris",), True),
        (("cn = ris",), True),
        (("CN=pacs", "CN=ris"), True),
        (("CN=RIS",), False),
        (("CN=ris,O=Hospital\\, General",), True),
        (("CN=ris,O=Hospital",), False),
    ],
)
def test_a_certificate_is_admitted_by_its_subject(allow: tuple[str, ...], is_in: bool) -> None:
    assert Access(subjects=tuple(map(read_subject, allow))).admits_subject(OWNED) is is_in


def test_no_certificate_has_no_subject() -> None:
    assert not Access(subjects=(read_subject("CN=ris"),)).admits_subject(None)


@pytest.mark.parametrize("text", ["", "10.0.0.0/99", "localhost", "10.0.0"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_network(text)


def test_an_address_is_barred_after_many_failures_and_for_a_while() -> None:
    clock = Clock()
    tries = Tries(clock)
    for _ in range(TRIES):
        assert not tries.is_barred("192.0.2.7")
        tries.note("192.0.2.7")
    assert tries.is_barred("192.0.2.7")
    assert not tries.is_barred("192.0.2.8")
    clock.now += TRIES_WITHIN
    assert not tries.is_barred("192.0.2.7")
