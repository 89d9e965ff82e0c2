"""What networks need of this machine: tried in a network namespace that ends with the trial, and the firewalls of others read."""

import os
from collections.abc import Callable, Mapping, Sequence

from drivers.kernel.namespaces import Namespace, run_in_new
from drivers.network.bridge.forwarding import enable_forwarding
from drivers.network.bridge.link_names import link_mac, link_prefix
from drivers.network.firewall import docker, foreign
from drivers.network.firewall.interface import NetworkRules
from drivers.network.firewall.nfnetlink import Nfnetlink
from drivers.network.firewall.nft import NftFirewall
from drivers.network.netlink.links import create_bridge, create_pair, get_link, read_link
from drivers.network.netlink.messages import Netlink
from resources.errors import EngineError

_INSTANCE, _NETWORK = "lading-trial", "0" * 32
_BRIDGE = f"{link_prefix(_INSTANCE)}b"
_SUBNETS = ("10.192.0.0/22",)
_ADDRESS = "10.192.0.2"
_MTU = 1500


def lacking() -> Mapping[str, str]:
    """What cannot be had and why, by `links`, `firewall`, `conntrack` and `forwarding`; empty where all can."""
    try:
        return run_in_new(Namespace.NETWORK, _tried)
    except OSError as error:
        return {"links": f"no network namespace can be made: {error.strerror}"}


def obstacles(instance: str) -> Sequence[str]:
    """Of the firewalls of others, a line each: what is in the way of this instance's containers, and what to do. Docker's is
    in nobody's way, whether its chain has our rules yet or not."""
    prefix = link_prefix(instance)
    try:
        with Nfnetlink() as link:
            accepted = {chain.family for chain in docker.accepts(link, prefix, instance)}
            return foreign.obstacles(link, instance, prefix, accepted)
    except EngineError:
        return ()  # of a kernel without nftables, which is told already


def _tried() -> dict[str, str]:
    checks = {"links": _links, "firewall": _firewall, "forwarding": lambda: enable_forwarding("ipv4")}
    found = {name: _failure(check) for name, check in checks.items()}
    if not found["firewall"]:
        found["conntrack"] = _failure(_conntrack)
    return {name: why for name, why in found.items() if why}


def _failure(check: Callable[[], None]) -> str:
    try:
        check()
    except EngineError as error:
        return str(error)
    except OSError as error:
        return str(error.strerror)
    return ""


def _links() -> None:
    netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Netlink() as kernel:
            kernel.do("cannot make a bridge", create_bridge(_BRIDGE, link_mac("bridge")))
            (answer,) = kernel.do("cannot look at a bridge", get_link(_BRIDGE))
            master = read_link(answer.replies[0]).index
            pair = create_pair("veth0", link_mac("veth0"), master, "veth1", link_mac("veth1"), netns, _MTU)
            kernel.do("cannot make a pair of veth links", pair)
    finally:
        os.close(netns)


def _firewall() -> None:
    firewall = NftFirewall(_INSTANCE, link_prefix(_INSTANCE))
    try:
        firewall.set_network(NetworkRules(_NETWORK, _BRIDGE, _SUBNETS))
    finally:
        firewall.close()


def _conntrack() -> None:
    firewall = NftFirewall(_INSTANCE, link_prefix(_INSTANCE))
    try:
        firewall.forget_flows([_ADDRESS])
    finally:
        firewall.close()
