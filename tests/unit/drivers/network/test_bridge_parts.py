"""What decides, without a kernel: names, changes of addresses and routes, faults, records, and a kernel that lacks things."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.network.bridge.endpoints import Endpoint, Interface, interface_faults, mend_interface
from drivers.network.bridge.forwarding import enable_forwarding, forwarded_families
from drivers.network.bridge.link import BridgeLink, bridge_faults, mend_bridge
from drivers.network.bridge.link_names import (
    bridge_name,
    endpoint_alias,
    link_mac,
    link_prefix,
    network_alias,
    network_of_alias,
    port_name,
)
from drivers.network.bridge.records import NetworkRecord, NetworkRecords
from drivers.network.interface import Fault
from drivers.network.netlink import settings
from drivers.network.netlink.links import Link, Port
from drivers.network.netlink.messages import Answer, Netlink, Request
from drivers.network.netlink.routes import (
    Address,
    DefaultRoute,
    add_address,
    add_default_route,
    address_changes,
    delete_address,
    delete_default_route,
    ours_of,
    route_changes,
)
from resources.errors import FailedPrecondition, Unsupported
from tests.networks import BACK, FRONT, endpoint

ONE = "1" * 64
INSTANCES = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=20)
IDS = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(INSTANCES, IDS)
def test_names_fit_and_start_with_the_instance(instance: str, network_id: str) -> None:
    for name in (bridge_name(instance, network_id), port_name(instance, ONE, network_id)):
        assert name.startswith(link_prefix(instance))
        assert len(name) == 15
    assert bridge_name(instance, network_id)[6] == "b"
    assert port_name(instance, ONE, network_id)[6] == "v"
    assert int(link_mac(network_alias(instance, network_id))[:2], 16) & 3 == 2
    assert len(endpoint_alias(instance, ONE, network_id)) < 256
    assert network_of_alias(network_alias(instance, network_id), network_alias(instance, "")) == network_id


@pytest.mark.parametrize(
    "alias", ["", "main:network:", "main:network:xyz", "main:network:" + "a" * 33, "other:network:" + "a" * 32]
)
def test_an_alias_that_names_no_network_of_ours_names_none(alias: str) -> None:
    assert network_of_alias(alias, network_alias("main", "")) is None


FIVE, SIX, WIDE = "10.42.0.5/24", "10.42.0.6/24", "10.42.0.5/16"


@pytest.mark.parametrize(
    ("wanted", "there", "changes"),
    [
        ([FIVE], [], [add_address(7, FIVE)]),
        ([FIVE], [Address(FIVE)], []),
        ([FIVE], [Address(FIVE, ours=False)], []),
        ([], [Address(FIVE, ours=False)], []),
        ([], [Address(FIVE)], [delete_address(7, FIVE)]),
        # The new one first: with the last address of a family go all routes.
        ([SIX], [Address(FIVE), Address("10.42.0.9/24", ours=False)], [add_address(7, SIX), delete_address(7, FIVE)]),
        ([FIVE], [Address(WIDE, ours=False)], [add_address(7, FIVE), delete_address(7, WIDE)]),
        (["fd00::5/64"], [Address("fd00::5/80")], [delete_address(7, "fd00::5/80"), add_address(7, "fd00::5/64")]),
        (["fd00::5/64"], [Address("fe80::1/64", ours=False)], [add_address(7, "fd00::5/64")]),
    ],
)
def test_only_addresses_of_ours_are_changed(wanted: list[str], there: list[Address], changes: list[Request]) -> None:
    assert address_changes(7, wanted, there) == changes
    assert set(ours_of(wanted, there)) >= {one.value for one in there if one.ours}


@pytest.mark.parametrize(
    ("wanted", "there", "changes"),
    [
        (["10.42.0.1"], [], [add_default_route(7, "10.42.0.1")]),
        (["10.42.0.1"], [DefaultRoute("10.42.0.1", ours=False)], []),
        ([], [DefaultRoute("10.42.0.1", ours=False)], []),
        ([], [DefaultRoute("10.42.0.1")], [delete_default_route(7, "10.42.0.1")]),
        (
            ["10.42.0.9"],
            [DefaultRoute("10.42.0.1"), DefaultRoute("10.42.0.7", ours=False)],
            [add_default_route(7, "10.42.0.9"), delete_default_route(7, "10.42.0.1")],
        ),
    ],
)
def test_only_routes_of_ours_are_changed(wanted: list[str], there: list[DefaultRoute], changes: list[Request]) -> None:
    assert route_changes(7, wanted, there) == changes


BRIDGE = BridgeLink("ldb", "alias", "02:00:00:00:00:01", 1500, ("10.42.0.1/24",))


def test_a_setting_that_the_kernel_lacks_is_no_fault() -> None:
    there = Link(3, "ldb", True, "bridge", "alias", "02:00:00:00:00:01", 1500)
    assert bridge_faults(BRIDGE, there, [Address("10.42.0.1/24")]) == []
    told = replace(there, settings={"rp_filter": 0, "disable_ipv6": 0, "unheard_of": 1})
    assert bridge_faults(BRIDGE, told, [Address("10.42.0.1/24")]) == [
        Fault("bridge.settings.rp_filter", 1, 0),
        Fault("bridge.settings.disable_ipv6", 1, 0),
    ]


class Willing(Netlink):
    """A kernel that does whatever it is asked for, and has nothing."""

    def _exchange(self, requests: object, flags: int, limit: int | None = None) -> list[Answer]:
        return [Answer() for _ in requests]  # type: ignore[attr-defined]


def test_a_kernel_without_ipv6_serves_networks_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_ROOT", str(tmp_path))
    web = endpoint(BACK, ONE, 5, tmp_path)
    wanted = Endpoint(web, "ldv", "alias", "02:00:00:00:00:03", Link(3, "ldb"), 1500, Port(True, False))
    six = replace(wanted, config=replace(web, addresses=("fd00::5/64",)))
    with Willing() as kernel:
        mend_bridge(kernel, BRIDGE, Link(3, "ldb"))
        mend_interface(kernel, wanted, Interface(Link(2, "eth0")))
        with pytest.raises(Unsupported, match="IPv6"):
            mend_bridge(kernel, replace(BRIDGE, addresses=("fd00::1/64",)), Link(3, "ldb"))
        with pytest.raises(Unsupported, match="IPv6"):
            mend_interface(kernel, six, Interface(Link(2, "eth0")))
    with pytest.raises(Unsupported, match="ipv6"):
        enable_forwarding("ipv6")


def test_a_setting_that_cannot_be_written_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_ROOT", str(tmp_path))
    (tmp_path / "ipv4" / "ip_forward").mkdir(parents=True)
    with pytest.raises(FailedPrecondition, match="ip_forward"):
        enable_forwarding("ipv4")


def test_faults_of_an_interface_name_what_was_asked_for_and_what_is_there() -> None:
    web = endpoint(FRONT, ONE, 5, Path("/nowhere"))
    wanted = Endpoint(web, "ldv", "alias", "02:00:00:00:00:03", Link(3, "ldb"), 1500, Port(True, False))
    link = Link(
        2, "eth0", False, "veth", mac="02:00:00:00:00:09", mtu=1400, settings={"disable_ipv6": 1, "accept_ra": 0}
    )
    routes = [DefaultRoute("10.42.0.9"), DefaultRoute("10.42.0.8", ours=False)]
    there = Interface(link, [Address("10.42.0.4/24"), Address("10.42.0.3/24", ours=False)], routes)
    assert interface_faults(wanted, there) == [
        Fault("interface.up", True, False),
        Fault("addresses", ["10.42.0.5/24", "fd00:42::5/64"], ["10.42.0.4/24"]),
        Fault("mac", web.mac, "02:00:00:00:00:09"),
        Fault("mtu", 1500, 1400),
        Fault("routes", ["10.42.0.1", "fd00:42::1"], ["10.42.0.9"]),
        Fault("settings.disable_ipv6", 0, 1),
    ]


def test_a_way_out_is_needed_of_the_families_it_has_and_of_none_inside() -> None:
    assert forwarded_families(FRONT) == ["ipv4", "ipv6"]
    assert forwarded_families(BACK) == ["ipv4"]
    assert forwarded_families(replace(FRONT, internal=True)) == []


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    records = NetworkRecords(tmp_path / "networks")
    reserved = replace(FRONT.pools[0], ip_range="10.42.0.128/25", reserved=("10.42.0.130", "10.42.0.131"))
    record = NetworkRecord(replace(FRONT, pools=(reserved,), isolated=True, mtu=1400), 1500)
    assert records.list() == []
    records.write(record)
    assert records.read(FRONT.id) == record
    assert records.list() == [FRONT.id]
    assert records.read(BACK.id) is None
    records.delete(FRONT.id)
    records.delete(FRONT.id)
    assert records.read(FRONT.id) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"config": []}',
        b'{"config": {"id": 3, "pools": []}, "uplink_mtu": null}',
        b'{"config": {"id": "../x", "pools": []}, "uplink_mtu": null}',
        json.dumps({"config": {"id": BACK.id, "pools": []}, "uplink_mtu": None}).encode(),
        json.dumps({"config": {"id": FRONT.id, "pools": [{"subnet": "x"}]}, "uplink_mtu": None}).encode(),
        json.dumps({"config": {"id": FRONT.id, "pools": [], "unknown": 1}, "uplink_mtu": None}).encode(),
        json.dumps({"config": {"id": FRONT.id, "pools": []}, "uplink_mtu": "x"}).encode(),
    ],
)
def test_what_is_no_record_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{FRONT.id}.json").write_bytes(content)
    (tmp_path / "notes.json").write_bytes(b"")
    records = NetworkRecords(tmp_path)
    assert records.read(FRONT.id) is None
    assert records.list() == [FRONT.id]


def test_whatever_lies_in_the_place_of_a_record_makes_way(tmp_path: Path) -> None:
    path, record = tmp_path / f"{FRONT.id}.json", NetworkRecord(FRONT, None)
    records = NetworkRecords(tmp_path)

    def folder() -> None:
        path.mkdir()
        (path / "inside").write_bytes(b"")

    def big() -> None:
        path.touch()
        os.truncate(path, 1 << 30)

    for put in (folder, big, lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero")):
        put()
        assert records.read(FRONT.id) is None
        records.write(record)
        assert records.read(FRONT.id) == record
        records.delete(FRONT.id)
        put()
        records.delete(FRONT.id)
        assert list(tmp_path.iterdir()) == []


def test_without_descriptors_a_record_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    records = NetworkRecords(tmp_path)
    records.write(NetworkRecord(FRONT, None))
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        records.read(FRONT.id)
