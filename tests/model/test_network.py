"""Networks that a peer may call from."""

from ipaddress import ip_network

import pytest

from gateway.model.network import is_within


@pytest.mark.parametrize(
    ("address", "networks", "is_in"),
    [
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("10.2.2.3", ["10.1.0.0/16"], False),
        ("10.2.2.3", ["10.1.0.0/16", "10.2.2.3"], True),
        ("::ffff:10.1.2.3", ["10.1.0.0/16"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("fe80::1", ["0.0.0.0/0"], False),
        ("10.1.2.3", ["::/0"], False),
        ("10.1.2.3", [], False),
        ("testclient", ["0.0.0.0/0", "::/0"], False),
        ("", ["0.0.0.0/0"], False),
    ],
)
def test_an_address_is_within_its_networks_alone(address: str, networks: list[str], is_in: bool) -> None:
    assert is_within(address, map(ip_network, networks)) is is_in
