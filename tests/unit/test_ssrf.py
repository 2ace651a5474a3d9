import socket

import pytest

from shared.errors import AddressForbidden
from shared.net.ssrf import AddressGuard, Endpoint, _is_own, blocked_reason, host_matches, resolve
from shared.net.timeouts import deadline

INSIDE = [
    "0.0.0.0",  # noqa: S104  an address to refuse
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1%eth0",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:1::1",
    "2001:4:112::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = [
    "8.8.8.8",
    "1.1.1.1",
    "52.216.0.1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_for_the_public_is_forbidden(address: str) -> None:
    assert blocked_reason(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_called_so_in_every_spelling(address: str) -> None:
    assert blocked_reason(address) == "loopback"


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_allowed(address: str) -> None:
    assert blocked_reason(address) is None


def endpoint(address: str) -> Endpoint:
    return Endpoint(socket.AF_INET, (address, 443))


def test_one_bad_address_among_good_ones_condemns_the_host() -> None:
    guard = AddressGuard()

    with pytest.raises(AddressForbidden, match=r"evil\.example resolves to an address"):
        guard.judge("evil.example", 443, [endpoint("8.8.8.8"), endpoint("10.0.0.1")])


def test_a_host_allowed_by_name_may_be_private() -> None:
    guard = AddressGuard(("intranet.example:8443", "127.0.0.1"))

    guard.judge("Intranet.Example.", 8443, [endpoint("10.0.0.1")])
    guard.judge("127.0.0.1", 5000, [endpoint("127.0.0.1")])
    with pytest.raises(AddressForbidden):
        guard.judge("intranet.example", 443, [endpoint("10.0.0.1")])


@pytest.mark.parametrize(
    ("entry", "host", "port", "named"),
    [
        ("asset.1min.ai", "asset.1min.ai", 443, True),
        ("asset.1min.ai", "ASSET.1min.ai.", 443, True),
        ("asset.1min.ai", "evil-asset.1min.ai", 443, False),
        ("asset.1min.ai", "asset.1min.ai.evil.example", 443, False),
        (".1min.ai", "asset.1min.ai", 443, True),
        (".1min.ai", "1min.ai", 443, False),
        (".1min.ai", "evil1min.ai", 443, False),
        ("localhost:9000", "localhost", 9000, True),
        ("localhost:9000", "localhost", 9001, False),
        (".local:9000", "a.local", 9000, True),
        ("::1", "::1", 443, True),
        ("[::1]:9000", "::1", 9000, True),
        ("[::1]:9000", "::1", 443, False),
    ],
)
def test_a_list_names_hosts_exactly_or_by_their_suffix(
    entry: str,
    host: str,
    port: int,
    named: bool,  # noqa: FBT001  an example, not a switch
) -> None:
    assert host_matches((entry,), host, port) is named


@pytest.mark.parametrize("written", ["127.1", "0x7f.1", "2130706433", "017700000001"])
def test_an_address_in_an_odd_spelling_is_judged_as_what_it_resolves_to(written: str) -> None:
    endpoints = resolve(written, 80, 5)

    with pytest.raises(AddressForbidden):
        AddressGuard().judge(written, 80, endpoints)


@pytest.mark.parametrize("name", ["a" * 70 + ".example", "a..example", ""])
def test_a_name_that_is_none_has_no_address_or_a_forbidden_one(name: str) -> None:
    with pytest.raises((OSError, AddressForbidden)):
        AddressGuard().judge(name, 80, resolve(name, 80, 5))


def test_a_port_of_many_digits_is_an_error_like_any_other() -> None:
    with pytest.raises(OSError, match="can be looked up"):
        resolve("127.0.0.1", 10**20, 5)


def test_a_port_that_is_not_allowed_is_forbidden_but_to_whom_the_operator_trusts() -> None:
    guard = AddressGuard(("intranet.example",), (range(443, 444), range(1024, 65_536)))

    guard.judge("hooks.example", 443, [public()])
    guard.judge("hooks.example", 65_535, [public()])
    guard.judge("intranet.example", 25, [endpoint("10.0.0.1")])
    for port in (22, 25, 80, 444, 1023):
        with pytest.raises(AddressForbidden, match=f"The port {port} of"):
            guard.judge("hooks.example", port, [public()])


def public() -> Endpoint:
    return endpoint("8.8.8.8")


def test_an_address_of_this_machine_is_known_whatever_its_number() -> None:
    # loopback stands for an address that is public by number: both are this machine's own
    assert _is_own(endpoint("127.0.0.1"))
    assert not _is_own(public())


def test_a_look_up_ends_with_the_deadline() -> None:
    with deadline(0), pytest.raises(TimeoutError):
        resolve("localhost", 80, 5)
