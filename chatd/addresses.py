"""Addresses of clients: what counts as one client, and who stands behind a proxy.

`X-Forwarded-For` is what anybody may write, so it is read from the right, and only as far as the
proxies of the settings have written it (`trusted_proxies`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

_SITE_BITS = 64  # what one household or server gets of IPv6: addresses within cost it nothing


@lru_cache(maxsize=4096)
def address_key(address: str) -> str:
    """Return what is limited as one: an IPv4 address, of IPv6 the network of 64 bits."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), _SITE_BITS), strict=False))
    return address if parsed is None else str(parsed)


@lru_cache(maxsize=4096)
def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    parsed = _parse(address)
    return parsed is not None and parsed.is_loopback


class Proxies:
    """The proxies whose word about a client's address counts.

    Args:
        networks: in CIDR form; a single address is one, too.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(each) for each in networks]

    def trusts(self, address: str) -> bool:
        """Return whether a peer is one of them."""
        if not self._networks:
            return False
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_of(self, peer: str, forwarded: Sequence[bytes]) -> str:
        """Return the rightmost address that is no proxy of ours; `peer` is one.

        What no address is, such as `unknown`, ends the search at the proxy that passed it on.

        Args:
            forwarded: the values of `X-Forwarded-For`, in their order.
        """
        client = peer
        for item in reversed(b",".join(forwarded).decode("ascii").split(",")):
            parsed = _parse(_without_port(item.strip()))
            if parsed is None:
                break
            client = str(parsed)
            if not self.trusts(client):
                break
        return client


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # such as the streams of tests, which have none
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _without_port(item: str) -> str:
    """Return the address in `1.2.3.4:5678` or `[2001:db8::1]:5678`, as some proxies write it."""
    if item.startswith("["):
        return item[1:].partition("]")[0]
    return item.partition(":")[0] if item.count(":") == 1 else item
