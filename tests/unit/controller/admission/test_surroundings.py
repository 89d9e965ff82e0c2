"""What of the host is in the way of a port: looked up once, and what containers of ours listen on is not."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from controller.admission.host import HostAddresses, TakenPort
from controller.admission.surroundings import Surroundings
from drivers.network.interface import Pool
from drivers.network.ports.interface import Listener, PortRequest, SocketOwner
from resources.container_parts import Port
from tests.unit.controller.making import made

OURS = 7


class Ports:
    def __init__(self, *listeners: Listener) -> None:
        self.looked = 0
        self._listeners = listeners

    def listeners(self) -> tuple[Listener, ...]:
        self.looked += 1
        return self._listeners

    def held(self, holder: str, asked: Sequence[PortRequest]) -> Sequence[PortRequest]:
        return [replace(one, host=49200) for one in asked]

    def owner(self, listener: Listener) -> SocketOwner | None:
        return SocketOwner(listener.inode, "nginx") if listener.inode else None


def surroundings(ports: Ports) -> Surroundings:
    given = {"front": (Pool("10.1.0.0/22", "10.1.0.1"),)}
    found = {"addresses": lambda _, uid: {"net": (uid,)}, "pools": lambda _, uid, asked: given.get(uid, asked)}
    ipam = cast(Any, type("", (), found)())
    return Surroundings(
        cast(Any, ports), ipam, lambda pid: pid == OURS, lambda: ["192.0.2.1"], lambda: frozenset({6}), lambda: []
    )


@pytest.mark.parametrize(
    ("listener", "port", "taken"),
    [
        (Listener("tcp", "0.0.0.0", 80, inode=812), Port(container=1, host=80), "nginx (pid 812)"),
        (Listener("tcp", "::", 80), Port(container=1, host=80, address="127.0.0.1"), ""),
        (Listener("tcp", "::", 80, v6_only=True), Port(container=1, host=80, address="127.0.0.1"), None),
        (Listener("tcp", "0.0.0.0", 80, inode=OURS), Port(container=1, host=80), None),
        (Listener("udp", "0.0.0.0", 80), Port(container=1, host=80), None),
        (Listener("tcp", "192.0.2.1", 80), Port(container=1, host=80, address="192.0.2.2"), None),
        (Listener("tcp", "0.0.0.0", 81), Port(container=1, host=80), None),
    ],
)
def test_who_listens_where_a_port_is_asked_for(listener: Listener, port: Port, taken: str | None) -> None:
    found = surroundings(Ports(listener)).host().taken(port)
    assert found == (None if taken is None else TakenPort(listener.protocol, listener.place, 80, taken))


def test_it_is_looked_up_once_and_only_when_asked() -> None:
    ports = Ports()
    host = surroundings(ports).host()
    assert ports.looked == 0
    assert [host.taken(Port(container=1, host=number)) for number in range(1, 50)] == [None] * 49
    assert ports.looked == 1
    assert host.addresses() == HostAddresses(["192.0.2.1"], frozenset({6}))
    assert host.held("a") == {"net": ("a",)}
    published = {"image": "nginx", "ports": [{"container": 80}], "networks": [{"name": "net"}]}
    assert host.published(made("container/web", published)) == [49200]
    assert (host.given("front"), host.given("edge")) == (["10.1.0.0/22"], [])
