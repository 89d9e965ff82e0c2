"""Subnets that no network can have, and what of them no gateway can be: told where it stands, before anything is made."""

import pytest

from tests.unit.manifests.test_decode import told


@pytest.mark.parametrize(
    ("subnet", "said"),
    [
        ("10.42.0.0/32", "cannot be a subnet of a network: it has one address, which is the gateway's"),
        ("fd00::1/128", "cannot be a subnet of a network: it has one address, which is the gateway's"),
        ("127.1.0.0/16", "cannot be a subnet of a network: 127.0.0.0/8 is each host's own"),
        ("0.1.0.0/16", "cannot be a subnet of a network: 0.0.0.0/8 means this host"),
        ("0.0.0.0/0", "cannot be a subnet of a network: 0.0.0.0/8 means this host"),
        ("169.254.7.0/24", "cannot be a subnet of a network: 169.254.0.0/16 is link-local"),
        ("224.0.1.0/24", "cannot be a subnet of a network: 224.0.0.0/3 is multicast or reserved"),
        ("240.0.0.0/8", "cannot be a subnet of a network: 224.0.0.0/3 is multicast or reserved"),
        ("255.255.255.0/24", "cannot be a subnet of a network: 224.0.0.0/3 is multicast or reserved"),
        ("::/64", "cannot be a subnet of a network: ::/96 is reserved"),
        ("::1/128", "cannot be a subnet of a network: ::/96 is reserved"),
        ("fe80::/64", "cannot be a subnet of a network: fe80::/10 is link-local"),
        ("ff05::/64", "cannot be a subnet of a network: ff00::/8 is multicast"),
        ("::ffff:10.0.0.0/112", "cannot be a subnet of a network: ::ffff:0:0/96 stands for IPv4; write IPv4 itself"),
        ("fd00::%a b/64", "names a link of a host: a subnet has none"),
        ("fd00::%eth0/64", "names a link of a host (%eth0): a subnet has none"),
        ("10.42.0.1/24", "has bits set beyond its prefix; the subnet is 10.42.0.0/24"),
        ("fd00::1/64", "has bits set beyond its prefix; the subnet is fd00::/64"),
        ("10.42.0.0", "a subnet has a prefix length, as in 10.42.0.0/24"),
        ("010.42.0.0/24", "is not a subnet such as 10.42.0.0/24 or fd00:42::/64"),
    ],
)
def test_no_subnet_of_a_network(subnet: str, said: str) -> None:
    for written, column in ((f'subnets: ["{subnet}"]', 13), (f'subnets: [{{subnet: "{subnet}"}}]', 22)):
        (problem,) = told("Network", written)
        assert problem.startswith(f"5:{column}: spec.subnets[0].subnet: {said}")


@pytest.mark.parametrize("subnet", ["10.42.0.0/31", "10.42.0.0/30", "fd00::/127", "fd00::/48", "192.0.2.0/24"])
def test_subnets_with_room_for_a_gateway_and_a_container(subnet: str) -> None:
    assert told("Network", f'subnets: ["{subnet}"]') == []


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("gateway: 10.43.0.1", "gateway: is not in 10.42.0.0/24"),
        ('gateway: "fd00::1"', "gateway: is not in 10.42.0.0/24"),
        ("gateway: 10.42.0.0", "gateway: is the address of the subnet 10.42.0.0/24 itself"),
        ("gateway: 10.42.0.255", "gateway: is the broadcast address of 10.42.0.0/24"),
        ('gateway: "fe80::1%eth0"', "gateway: names a link of a host (%eth0): an address here has none"),
        ("gateway: x", "gateway: is not an IP address"),
        ("ipRange: 10.42.1.0/25", "ipRange: is not in 10.42.0.0/24"),
        ("ipRange: 10.42.0.0/16", "ipRange: is not in 10.42.0.0/24"),
        ('ipRange: "fd00::/80"', "ipRange: is not in 10.42.0.0/24"),
        ("ipRange: 10.42.0.4/25", "ipRange: has bits set beyond its prefix; the subnet is 10.42.0.0/25"),
        ("reserved: [10.42.0.9, 10.43.0.9]", "reserved[1]: is not in 10.42.0.0/24"),
        ('reserved: ["fd00::1%lo"]', "reserved[0]: names a link of a host (%lo): an address here has none"),
    ],
)
def test_what_is_said_of_a_subnet_fits_it(rest: str, said: str) -> None:
    (problem,) = told("Network", f"subnets:\n- 10.41.0.0/24\n- subnet: 10.42.0.0/24\n  {rest}")
    assert problem.startswith("8:")
    assert problem.partition(" ")[2] == f"spec.subnets[1].{said}"


def test_a_gateway_of_ipv6_is_not_the_anycast_address_of_all_routers() -> None:
    (problem,) = told("Network", 'subnets: [{subnet: "fd00::/64", gateway: "fd00::"}]')
    assert problem.endswith("spec.subnets[0].gateway: is the address of the subnet fd00::/64 itself")


def test_two_subnets_of_one_network_do_not_overlap() -> None:
    (problem,) = told("Network", "subnets:\n- 10.42.0.0/16\n- fd00::/64\n- {subnet: 10.42.9.0/24}")
    assert problem == "8:5: spec.subnets[2]: overlaps 10.42.0.0/16, which the network has too"
    assert told("Network", "subnets: [10.42.0.0/24, 10.42.1.0/24]") == []
    # One that is wrong by itself hides nothing, and the others are told by the places they have.
    problems = told("Network", "subnets: [x/24, 10.42.0.0/16, 10.42.9.0/24]")
    assert [one.partition("spec.")[2] for one in problems] == [
        "subnets[0].subnet: is not a subnet such as 10.42.0.0/24 or fd00:42::/64",
        "subnets[2]: overlaps 10.42.0.0/16, which the network has too",
    ]


def test_ipv6_needs_what_its_smallest_packets_need() -> None:
    (problem,) = told("Network", "mtu: 1279\nsubnets: [10.42.0.0/24, 'fd00::/64']")
    assert problem == "5:8: spec.mtu: IPv6 needs 1280 or more, and fd00::/64 is of IPv6"
    assert told("Network", "mtu: 1280\nsubnets: ['fd00::/64']") == []
    assert told("Network", "mtu: 68") == []
    assert told("Network", "mtu: 67") == ["5:8: spec.mtu: must be 68 or more"]


@pytest.mark.parametrize(
    ("field", "address", "said"),
    [
        ("ipv6", "fe80::5%eth0", "names a link of a host (%eth0): an address here has none"),
        ("ipv6", "::ffff:10.42.0.5", "stands for an IPv4 address: write 10.42.0.5, as IPv4"),
        ("ipv6", "10.42.0.5", "is not an IPv6 address"),
        ("ipv4", "fd00::5", "is not an IPv4 address"),
        ("ipv4", "10.42.0.5/24", "is not an IPv4 address: write 10.42.0.5, without the length of a prefix"),
    ],
)
def test_fixed_addresses_are_plain(field: str, address: str, said: str) -> None:
    (problem,) = told("Container", f'image: a\nnetworks: [{{name: net, {field}: "{address}"}}]')
    assert problem.startswith("6:")
    assert problem.endswith(f"spec.networks[0].{field}: {said}")
