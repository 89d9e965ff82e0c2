"""What a network driver is asked for, checked before any of it names a link or a file or goes into a message."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import replace

from drivers.network.interface import EndpointConfig, NetworkConfig
from resources.errors import InvalidArgument

_NETWORK = re.compile(r"[0-9a-f]{32}")
_SANDBOX = re.compile(r"[0-9a-f]{64}")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MTU = range(68, 65536)
_MIN_MTU_IPV6 = 1280


def checked_network_id(network_id: str) -> str:
    return _checked(_NETWORK, network_id, "a network id", "32 hex digits are")


def checked_sandbox_id(sandbox_id: str) -> str:
    return _checked(_SANDBOX, sandbox_id, "a sandbox id", "64 hex digits are")


def is_network_id(text: str) -> bool:
    return _NETWORK.fullmatch(text) is not None


def check_network(config: NetworkConfig) -> None:
    checked_network_id(config.id)
    for pool in config.pools:
        try:
            subnet, gateway = ipaddress.ip_network(pool.subnet), _address(pool.gateway)
        except ValueError as error:
            raise InvalidArgument(f"{pool.subnet!a} with gateway {pool.gateway!a} is no subnet: {error}") from error
        if gateway not in subnet:
            raise InvalidArgument(f"the gateway {gateway} is not in the subnet {subnet}")
    _check_mtu(config.mtu, has_ipv6([pool.subnet for pool in config.pools]))


def checked_endpoint(endpoint: EndpointConfig) -> EndpointConfig:
    """The same with all addresses written as the kernel's are read."""
    checked_sandbox_id(endpoint.sandbox_id)
    checked_network_id(endpoint.network_id)
    _checked(_INTERFACE, endpoint.interface, "the name of an interface", "1 to 15 letters, digits, `_`, `.` and `-`")
    mac = endpoint.mac.lower()
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        raise InvalidArgument(f"{endpoint.mac[:80]!a} is not the MAC address of one interface")
    _check_mtu(endpoint.mtu, has_ipv6(endpoint.addresses))
    addresses = tuple(_with_prefix(address) for address in endpoint.addresses)
    return replace(endpoint, mac=mac, addresses=addresses, gateways=_gateways(endpoint.gateways))


def has_ipv6(addresses: Sequence[str]) -> bool:
    return any(":" in address for address in addresses)


def shown(interface: str) -> str:
    """A name that a container may have given: the kernel takes almost any characters."""
    return f"{interface!a}"[1:-1]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Raises: ValueError when it is not the address of one host, in the network of anybody."""
    address = ipaddress.ip_address(text)
    if "%" in text or address.is_multicast or address.is_unspecified or address.is_loopback:
        raise ValueError(f"{text!a} is not the address of a host in a network")
    return address


def _with_prefix(text: str) -> str:
    host, slash, length = text.partition("/")
    try:
        address = _address(host)
        interface = ipaddress.ip_interface(f"{address}/{length}")
    except ValueError as error:
        raise InvalidArgument(f"{text[:80]!a} is not an address with the length of its prefix") from error
    if not slash or not length.isdecimal():
        raise InvalidArgument(f"the address {address} lacks the length of its prefix")
    return str(interface)


def _gateways(gateways: Sequence[str]) -> tuple[str, ...]:
    try:
        hops = [_address(gateway) for gateway in gateways]
    except ValueError as error:
        raise InvalidArgument(f"no next hop of a route: {error}") from error
    if len({hop.version for hop in hops}) != len(hops):
        raise InvalidArgument(f"two default routes of one family: {', '.join(map(str, hops))}")
    return tuple(map(str, hops))


def _check_mtu(mtu: int | None, ipv6: bool) -> None:
    if mtu is None:
        return
    if mtu not in _MTU:
        raise InvalidArgument(f"no link has an MTU of {mtu}: {_MTU.start} to {_MTU.stop - 1} are possible")
    if ipv6 and mtu < _MIN_MTU_IPV6:
        raise InvalidArgument(f"an MTU of {mtu} is too small for IPv6, which needs {_MIN_MTU_IPV6}")


def _checked(pattern: re.Pattern[str], value: str, what: str, hint: str) -> str:
    if not pattern.fullmatch(value):
        raise InvalidArgument(f"{value[:80]!a} is not {what}", hint=hint)
    return value
