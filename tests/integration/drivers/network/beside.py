"""Networks, containers and ports of ours as an engine makes them, and what is to be seen of them beside Docker's."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from controller.store.allocations import Allocations
from controller.store.memory import MemoryStore
from drivers.network.bridge.link_names import bridge_name, link_prefix
from drivers.network.firewall.nft import NftFirewall
from drivers.network.interface import EndpointConfig, NetworkConfig, Pool
from drivers.network.ipam.host_routes import host_routes
from drivers.network.ipam.interface import Ipam
from drivers.network.ipam.pools import DefaultIpam
from drivers.network.ipam.subnets import AddressPool
from drivers.network.names.client import ResolverClient
from drivers.network.names.interface import Names
from drivers.network.ports.interface import PortPublisher, PublishedPort
from drivers.network.ports.published import PublishedPorts
from tests.integration.drivers.network.dockerd import Dockerd, Joined
from tests.machines import Answer, Machine, Machines
from tests.networks import BridgeRig, Placed, endpoint

OUTSIDE = 9000
"""Where `lan` listens."""
DOCKERS = tuple(AddressPool(f"172.{number}.0.0/16", 22) for number in (17, 18, 19))
"""The first subnets that Docker takes."""


@dataclass
class Box:
    """A container of ours."""

    machine: Machine
    endpoint: EndpointConfig
    ports: tuple[PublishedPort, ...] = ()


class Ours:
    """Networks, containers and ports as the engine makes them, on the machine `host`."""

    def __init__(self, host: Machine, folder: Path, instance: str, *, owned: bool = True) -> None:
        self.host = host
        self.instance = instance
        self._firewall = NftFirewall(instance, link_prefix(instance), owned=owned)
        self._rig = BridgeRig(host, folder, instance, self._firewall)
        self._resolver = ResolverClient(folder, instance)
        self.networks = self._rig.networks
        self.names = cast(Names, Placed(host, self._resolver.names))
        self.ports = cast(
            PortPublisher, Placed(host, PublishedPorts(self._firewall, self._resolver.proxies, folder / "publishing"))
        )
        ipam = DefaultIpam(
            Allocations(MemoryStore()),
            routes=host_routes,
            link=lambda uid: bridge_name(instance, uid),
            address_pools=DOCKERS,
        )
        self.ipam = cast(Ipam, Placed(host, ipam))
        self.configs: list[NetworkConfig] = []
        self.boxes: list[Box] = []

    def network(self) -> NetworkConfig:
        number = len(self.configs) + 1
        network_id = f"{number:032x}"
        (pool,) = self.ipam.allocate_subnets(network_id, ())
        six = Pool(f"fd00:42:{number}::/64", f"fd00:42:{number}::1")
        config = NetworkConfig(network_id, (pool, six))
        self.configs.append(config)
        self.networks.apply(config)
        return config

    def container(self, name: str, config: NetworkConfig) -> Box:
        number = len(self.boxes) + 2
        sandbox = self._rig.sandboxes.create(f"{number:064x}")
        assert sandbox.netns is not None
        wanted = endpoint(config, sandbox.id, number, sandbox.netns)
        self.networks.attach(wanted)
        machine = Joined(name, sandbox.netns)
        machine.ipv4, machine.ipv6 = (address.partition("/")[0] for address in wanted.addresses)
        machine.serve(80, 81)
        self.boxes.append(Box(machine, wanted))
        return self.boxes[-1]

    def publish(self, box: Box, host: int, container: int) -> None:
        machine = box.machine
        box.ports = (*box.ports, PublishedPort(host, container, ipv4=machine.ipv4, ipv6=machine.ipv6))
        self.ports.publish(machine.name, box.ports)

    def faults(self) -> list[str]:
        """What an engine finds when it looks."""
        found = [fault.field for config in self.configs for fault in self.networks.inspect(config.id).faults]
        for box in self.boxes:
            state = self.networks.endpoint(box.endpoint)
            found += [fault.field for fault in state.faults] if state else ["endpoint"]
            if self.ports.published(box.machine.name) != box.ports:
                found.append("ports")
        return found

    def mend(self) -> None:
        """What an engine does about it."""
        for config in self.configs:
            if self.networks.inspect(config.id).faults:
                self.networks.apply(config)
        for box in self.boxes:
            if self.ports.published(box.machine.name) != box.ports:
                self.ports.publish(box.machine.name, box.ports)
        assert self.faults() == []

    def obstacles(self) -> Sequence[str]:
        return self.host.run(self._firewall.obstacles)

    def remove(self) -> None:
        for box in self.boxes:
            box.machine.close()
            self.ports.publish(box.machine.name, ())
            addresses = (box.machine.ipv4, box.machine.ipv6)
            self.networks.detach(box.endpoint.sandbox_id, box.endpoint.network_id, addresses)
        self.boxes.clear()
        for config in self.configs:
            self.networks.delete(config.id)
        self.configs.clear()

    def close(self) -> None:
        try:
            self.remove()
        finally:
            self._resolver.stop()
            self._firewall.close()
            for sandbox_id in self._rig.sandboxes.list():
                self._rig.sandboxes.delete(sandbox_id)
        assert self.instance not in self.host("nft", "list", "ruleset")


class Scene:
    """`web` and `other` of ours on networks of their own, `web` published at 8080, and Docker's `whale` at 7070."""

    def __init__(self, machines: Machines, ours: Ours) -> None:
        self.host, self.lan = machines.host, machines.lan
        self.ours = ours
        self.web = self.other = self.whale = machines.lan
        self.lan.serve(OUTSIDE)

    def start_ours(self) -> None:
        web, other = (self.ours.container(name, self.ours.network()) for name in ("web", "other"))
        self.ours.publish(web, 8080, 80)
        self.web, self.other = web.machine, other.machine
        self._route(*(pool.subnet for config in self.ours.configs for pool in config.pools))

    def start_whale(self, dockerd: Dockerd, *options: str) -> None:
        self.whale = dockerd.run("whale", "whale", "--publish", "7070:80", *options)
        self._route(*dockerd.subnets())

    def uplink_over(self, bridge: str) -> None:
        """The host's way out is a bridge from now on."""
        host = self.host
        host("ip", "link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
        host.set(f"net.ipv6.conf.{bridge}.accept_dad", 0)
        host("ip", "addr", "flush", "dev", "up0")
        host("ip", "link", "set", "up0", "master", bridge)
        host("ip", "link", "set", bridge, "up")
        for address, via in ((f"{host.ipv4}/24", self.lan.ipv4), (f"{host.ipv6}/64", self.lan.ipv6)):
            host("ip", "addr", "add", address, "dev", bridge)
            host("ip", "route", "replace", "default", "via", via)

    def _route(self, *subnets: str) -> None:
        """The neighbour sends to containers without being asked to."""
        for subnet in subnets:
            via = self.host.ipv6 if ":" in subnet else self.host.ipv4
            self.lan("ip", "route", "replace", subnet, "via", via)

    def ours_work(self) -> None:
        host, lan = self.host, self.lan
        assert lan.ask(host.ipv4, 8080) == Answer("web", lan.ipv4)
        assert lan.ask(host.ipv6, 8080) == Answer("web", lan.ipv6)
        for address in ("127.0.0.1", "::1", host.ipv4, host.ipv6):
            assert_from(host.ask(address, 8080), "web")
        for box in (self.web, self.other):
            assert box.ask(lan.ipv4, OUTSIDE) == Answer("lan", host.ipv4)
            assert box.ask(lan.ipv6, OUTSIDE) == Answer("lan", host.ipv6)
        assert_from(self.other.ask(host.ipv4, 8080), "web")

    def dockers_work(self) -> None:
        assert_from(self.lan.ask(self.host.ipv4, 7070), "whale")
        for address in ("127.0.0.1", self.host.ipv4):
            assert_from(self.host.ask(address, 7070), "whale")
        assert self.whale.ask(self.lan.ipv4, OUTSIDE) == Answer("lan", self.host.ipv4)

    def nobody_answers(self, *asked: tuple[Machine, str, int]) -> None:
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = list(pool.map(lambda one: one[0].ask(one[1], one[2], timeout=0.5), asked))
        reached = [(one[0].name, *one[1:]) for one, found in zip(asked, answers, strict=True) if found]
        assert reached == []

    def ours_are_closed(self) -> None:
        """By their own addresses; published ports of the host are everybody's."""
        by_ipv4 = [(source, self.web.ipv4, port) for source in (self.lan, self.whale, self.other) for port in (80, 81)]
        self.nobody_answers(*by_ipv4, (self.lan, self.web.ipv6, 80), (self.other, self.web.ipv6, 80))
        assert_from(self.whale.ask(self.host.ipv4, 8080), "web")

    def dockers_are_closed(self) -> None:
        """Docker lets other machines reach published ports of its containers by their own addresses too, but no others, as
        long as what it does not know is not forwarded."""
        self.nobody_answers((self.lan, self.whale.ipv4, 81))
        self.dockers_are_closed_to_ours()

    def dockers_are_closed_to_ours(self) -> None:
        boxes = (self.web, self.other)
        self.nobody_answers(*((box, self.whale.ipv4, port) for box in boxes for port in (80, 81)))
        assert_from(self.web.ask(self.host.ipv4, 7070), "whale")

    def all_is_well(self) -> None:
        self.ours_work()
        self.dockers_work()
        self.ours_are_closed()
        self.dockers_are_closed()


def assert_from(answered: Answer | None, server: str) -> None:
    assert answered is not None, f"no answer from {server}"
    assert answered.server == server
