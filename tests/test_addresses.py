"""Addresses: what is one client, and whose word about an address counts."""

from __future__ import annotations

import pytest

from chatd.addresses import Proxies, address_key, is_loopback


def test_addresses_of_one_ipv6_network_are_one_client_and_others_are_not() -> None:
    assert address_key("2001:db8:1:2::1") == address_key("2001:db8:1:2:ffff::9")
    assert address_key("2001:db8:1:2::1") != address_key("2001:db8:1:3::1")
    assert address_key("192.0.2.1") != address_key("192.0.2.2")


def test_an_ipv4_client_is_the_same_on_a_socket_of_both_kinds() -> None:
    assert address_key("::ffff:192.0.2.1") == address_key("192.0.2.1")


def test_what_is_no_address_is_a_client_of_its_own() -> None:
    assert address_key("memory") == "memory"
    assert address_key("fe80::1%eth0") == address_key("fe80::2%eth1")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("memory", False),
        ("::2", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ([], "10.0.0.1"),
        ([b"203.0.113.9"], "203.0.113.9"),
        ([b"6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        ([b"6.6.6.6", b"203.0.113.9"], "203.0.113.9"),
        ([b"6.6.6.6, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"203.0.113.9:5678"], "203.0.113.9"),
        ([b"[2001:db8::1]:5678"], "2001:db8::1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        ([b"6.6.6.6, "], "10.0.0.1"),
        ([b"127.0.0.1'; DROP TABLE"], "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy_of_ours(
    forwarded: list[bytes], expected: str
) -> None:
    proxies = Proxies(["10.0.0.0/8"])
    assert proxies.client_of("10.0.0.1", forwarded) == expected


def test_nobody_is_trusted_unless_the_settings_say_so() -> None:
    assert not Proxies([]).trusts("127.0.0.1")
    assert Proxies(["10.0.0.0/8", "::1"]).trusts("10.9.9.9")
    assert Proxies(["10.0.0.0/8", "::1"]).trusts("::1")
    assert Proxies(["10.0.0.0/8"]).trusts("::ffff:10.0.0.1")
    assert not Proxies(["10.0.0.0/8"]).trusts("11.0.0.1")
    assert not Proxies(["10.0.0.0/8"]).trusts("memory")
