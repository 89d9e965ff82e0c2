"""Networks to test on: the twin in memory, and the real driver on a machine of its own. Both are broken by hand the same way."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

from drivers.network.bridge.driver import BridgeNetworks
from drivers.network.bridge.fake import FakeNetworks
from drivers.network.bridge.link_names import bridge_name, port_name
from drivers.network.firewall.interface import Firewall, NetworkRules
from drivers.network.interface import EndpointConfig, Fault, NetworkConfig, NetworkDriver, Pool, SandboxDriver
from drivers.network.sandbox.fake import FakeSandboxes
from drivers.network.sandbox.namespaces import NetnsSandboxes
from tests.machines import Machine

NETWORK, OTHER = "a" * 32, "b" * 32
ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64
"""Sandboxes."""
FRONT = NetworkConfig(NETWORK, (Pool("10.42.0.0/24", "10.42.0.1"), Pool("fd00:42::/64", "fd00:42::1")))
BACK = NetworkConfig(OTHER, (Pool("10.43.0.0/24", "10.43.0.1"),))


def endpoint(config: NetworkConfig, sandbox_id: str, number: int, netns: Path, **more: Any) -> EndpointConfig:
    """The `number`th address of each subnet, and the default routes."""
    pools = [(pool.gateway[:-1], pool.subnet.partition("/")[2], pool.gateway) for pool in config.pools]
    made = EndpointConfig(
        sandbox_id=sandbox_id,
        network_id=config.id,
        netns=netns,
        interface="eth0",
        addresses=tuple(f"{start}{number}/{length}" for start, length, _ in pools),
        mac=f"02:42:0a:{config.id[:2]}:00:{number:02x}",
        gateways=tuple(gateway for _, _, gateway in pools),
    )
    return replace(made, **more)


class MemoryFirewall:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.rules: dict[str, NetworkRules] = {}
        self.forgotten: list[str] = []

    def set_network(self, rules: NetworkRules) -> None:
        self.rules[rules.id] = rules

    def network(self, network_id: str) -> NetworkRules | None:
        return self.rules.get(network_id)

    def remove_network(self, network_id: str) -> None:
        self.rules.pop(network_id, None)

    def networks(self) -> Sequence[str]:
        return sorted(self.rules)

    def forget_flows(self, addresses: Sequence[str]) -> None:
        self.forgotten += addresses


class Placed:
    """A driver whose calls are made on a machine."""

    def __init__(self, machine: Machine, driver: object) -> None:
        self._machine = machine
        self._driver = driver

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **named: self._machine.run(lambda: getattr(self._driver, name)(*args, **named))


class Rig(Protocol):
    @property
    def networks(self) -> NetworkDriver: ...

    @property
    def sandboxes(self) -> SandboxDriver: ...

    def spoil_network(self, network_id: str, what: str) -> None:
        """`what` is the field of the fault."""

    def spoil_endpoint(self, endpoint: EndpointConfig, what: str) -> None: ...

    def set_uplink_mtu(self, mtu: int) -> None: ...

    def lose_network(self, network_id: str) -> None: ...

    def lose_endpoint(self, endpoint: EndpointConfig) -> None: ...

    def reboot(self) -> None: ...


class FakeRig:
    def __init__(self) -> None:
        self.sandboxes = FakeSandboxes()
        self.networks = FakeNetworks(self.sandboxes)

    def spoil_network(self, network_id: str, what: str) -> None:
        self.networks.break_network(network_id, Fault(what, "good", "bad"))

    def spoil_endpoint(self, endpoint: EndpointConfig, what: str) -> None:
        self.networks.break_endpoint(endpoint.sandbox_id, endpoint.network_id, Fault(what, "good", "bad"))

    def set_uplink_mtu(self, mtu: int) -> None:
        self.networks.uplink_mtu = mtu

    def lose_network(self, network_id: str) -> None:
        self.networks.lose_network(network_id)

    def lose_endpoint(self, endpoint: EndpointConfig) -> None:
        self.networks.lose_endpoint(endpoint.sandbox_id, endpoint.network_id)

    def reboot(self) -> None:
        self.sandboxes.reboot()
        self.networks.reboot()


class BridgeRig:
    def __init__(self, host: Machine, run_root: Path, instance: str, firewall: Firewall | None = None) -> None:
        """With a firewall that is none, unless another is given."""
        self.host = host
        self.instance = instance
        self.run_root = run_root
        self.firewall = MemoryFirewall()
        self.sandboxes = NetnsSandboxes(run_root, instance)
        self.networks = cast(NetworkDriver, Placed(host, BridgeNetworks(run_root, instance, firewall or self.firewall)))

    def bridge(self, network_id: str) -> str:
        return bridge_name(self.instance, network_id)

    def port(self, endpoint: EndpointConfig) -> str:
        return port_name(self.instance, endpoint.sandbox_id, endpoint.network_id)

    def inside(self, endpoint: EndpointConfig, *command: str) -> str:
        """A command in the sandbox."""
        return inside(endpoint.netns, *command)

    def spoil_network(self, network_id: str, what: str) -> None:
        bridge = self.bridge(network_id)
        commands: Mapping[str, str] = {
            "bridge.up": f"ip link set {bridge} down",
            "bridge.mtu": f"ip link set {bridge} mtu 1400",
            "bridge.mac": f"ip link set {bridge} address 02:00:00:00:00:01",
            "bridge.alias": f"ip link set {bridge} alias ",
            "bridge.stp": f"ip link set {bridge} type bridge stp_state 1",
            "bridge.multicast_snooping": f"ip link set {bridge} type bridge mcast_snooping 1",
            "bridge.addresses": f"ip address flush dev {bridge} scope global",
        }
        if what == "firewall":
            self.firewall.rules.clear()
        elif what == "forwarding":
            self.host.set("net.ipv4.ip_forward", 0)
        elif what.startswith("bridge.settings."):
            name = what.removeprefix("bridge.settings.")
            family = "ipv4" if name in ("rp_filter", "route_localnet", "promote_secondaries") else "ipv6"
            path = f"net/{family}/conf/{bridge}/{name}"
            wrong = self.host("cat", f"/proc/sys/{path}").strip() == "0"
            self.host.set(path, int(wrong))
        else:
            self.host(*commands[what].split(" "))

    def spoil_endpoint(self, endpoint: EndpointConfig, what: str) -> None:
        port, interface = self.port(endpoint), endpoint.interface
        on_host: Mapping[str, str] = {
            "link.up": f"ip link set {port} down",
            "link.bridge": f"ip link set {port} nomaster",
            "link.mtu": f"ip link set {port} mtu 1400",
            "link.alias": f"ip link set {port} alias ",
            "link.hairpin": f"ip link set {port} type bridge_slave hairpin off",
            "link.isolated": f"ip link set {port} type bridge_slave isolated on",
        }
        in_sandbox: Mapping[str, str] = {
            "interface.name": f"ip link set {interface} name foo",
            "interface.up": f"ip link set {interface} down",
            "addresses": f"ip address flush dev {interface} scope global",
            "routes": "ip route delete default",
            "mac": f"ip link set {interface} address 02:00:00:00:00:02",
            "mtu": f"ip link set {interface} mtu 1400",
        }
        if what in on_host:
            self.host(*on_host[what].split(" "))
        elif what == "link.settings.disable_ipv6":
            self.host.set(f"net/ipv6/conf/{port}/disable_ipv6", 0)
        elif what == "settings.accept_ra":
            self.inside(endpoint, "sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{interface}/accept_ra")
        else:
            self.inside(endpoint, *in_sandbox[what].split(" "))

    def set_uplink_mtu(self, mtu: int) -> None:
        self.host("ip", "link", "set", "up0", "mtu", str(mtu))

    def lose_network(self, network_id: str) -> None:
        self.host("ip", "link", "delete", self.bridge(network_id))

    def lose_endpoint(self, endpoint: EndpointConfig) -> None:
        self.host("ip", "link", "delete", self.port(endpoint))

    def reboot(self) -> None:
        for sandbox_id in self.sandboxes.list():
            self.sandboxes.delete(sandbox_id)
        for network_id in self.networks.list():
            self.networks.delete(network_id)
        self.host.set("net.ipv4.ip_forward", 0)


def inside(netns: Path, *command: str) -> str:
    answer = subprocess.run(
        ["nsenter", f"--net={netns}", "--", *command], capture_output=True, text=True, timeout=30, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def attached(rig: BridgeRig, machine: Machine, config: NetworkConfig, sandbox_id: str, number: int) -> EndpointConfig:
    made = endpoint(config, sandbox_id, number, machine.path)
    rig.networks.attach(made)
    return made


def ip(machine: Machine, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(machine("ip", "-json", *words) or "[]")
    return found


def link(machine: Machine, name: str) -> dict[str, Any]:
    (found,) = ip(machine, "-details", "address", "show", "dev", name)
    return found


def wait_for(true: Callable[[], bool], seconds: float = 3) -> bool:
    """Neighbours that did not answer are asked again after a second; the wire's own addresses are checked as long."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
