"""Networks that a peer may call from."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from gateway.model.errors import Invalid

Network: TypeAlias = IPv4Network | IPv6Network


def read_network(text: str, *, is_exact: bool = False) -> Network:
    """A network, or the one address that `text` names. With `is_exact` no address inside a network stands for it.

    Raises Invalid.
    """
    try:
        return ip_network(text.strip(), strict=is_exact)
    except ValueError:
        raise Invalid("not an address or network such as 192.0.2.7 or 10.0.0.0/8") from None


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether the address lies in one of the networks; what is no address lies in none.

    The zone of an IPv6 address does not count, and an IPv4 address may come as IPv6 writes it (RFC 4291 2.5.5.2).
    """
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(known, IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    return any(known in network for network in networks)
