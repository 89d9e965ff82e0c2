"""What a network and a published port are in the sets of the table, and how they are told from there. Pure.

The comment of an element begins with the id of what it belongs to. One element each says what the others are to be: of a
network that in `bridges`, of a port that in `ports`.
"""

import ipaddress
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from drivers.network.firewall.expressions import LINK_NAME
from drivers.network.firewall.interface import NetworkRules
from drivers.network.firewall.messages import Elements, Key, Value
from drivers.network.ports.interface import PublishedPort, Transport
from resources.errors import InvalidArgument

NETWORK_SETS = frozenset(
    ("bridges", "internal", "same", "isolated", "subnets4", "subnets6", "masquerade4", "masquerade6")
)
NEIGHBOUR_SETS = frozenset(("closed", "open"))
_PORT_MAPS = frozenset(("any4", "any6", "at4", "at6"))
EVERYWHERE = {"": (4, 6), "0.0.0.0": (4,), "::": (6,)}
"""The addresses that stand for all of these families."""

_PROTOCOLS: dict[Transport, int] = {"tcp": 6, "udp": 17}
_TRANSPORTS = {number: name for name, number in _PROTOCOLS.items()}
_ID = re.compile(r"[a-z0-9]{1,64}")
_LINK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_FLAGS = {"i": "internal", "s": "isolated", "m": "masquerade"}
_PORT = struct.Struct("!B3xH2x")
_SERVICE = struct.Struct("!H2x")
_MAPPED = bytes(10) + b"\xff\xff"


def checked_id(value: str) -> str:
    """Raises: InvalidArgument. Nothing else becomes a comment."""
    if not _ID.fullmatch(value):
        raise InvalidArgument(f"{value[:80]!a} is not the uid of an object")
    return value


def of_neighbours(bridges: Iterable[bytes]) -> frozenset[Key]:
    """Beside Docker, which may make bridges at any time, nothing goes to any that is not among these."""
    names = {Key("open", name.ljust(LINK_NAME, b"\0")) for name in bridges if len(name) < LINK_NAME}
    return frozenset({Key("closed", b"bridge".ljust(LINK_NAME, b"\0")), *names})


def owner(value: Value) -> str:
    """ "" of what is none of ours."""
    name = value.comment.partition("-")[0]
    return name if _ID.fullmatch(name) else ""


def of_network(rules: NetworkRules) -> dict[Key, Value]:
    """Raises: InvalidArgument."""
    subnets = [_subnet(one) for one in rules.subnets]
    if len(set(subnets)) < len(subnets):
        raise InvalidArgument(f"a subnet of the network stands twice: {', '.join(map(str, subnets))}")
    flags = "".join(letter for letter, name in _FLAGS.items() if getattr(rules, name))
    name = _link(rules.bridge)
    plain = Value(checked_id(rules.id))
    found = {
        Key("bridges", name): Value(f"{rules.id}-{len(subnets)}-{flags}"),
        Key("isolated" if rules.isolated else "same", name + name): plain,
    }
    if rules.internal:
        found[Key("internal", name)] = plain
    leaves = rules.masquerade and not rules.internal
    for at, subnet in enumerate(subnets):
        for kind in ("subnets", "masquerade") if leaves else ("subnets",):
            found[_interval(kind, subnet)] = Value(f"{rules.id}-{at}")
    return found


def network_in(elements: Elements) -> NetworkRules | None:
    """The one all of these are of, when all are there."""
    try:
        ((name, said),) = ((key.value, value.comment) for key, value in elements.items() if key.set == "bridges")
        network_id, count, flags = said.split("-")
        rules = NetworkRules(
            network_id,
            name.rstrip(b"\0").decode(),
            tuple(_subnet_in(elements, f"{network_id}-{at}") for at in range(min(int(count), len(elements)))),
            **{name: letter in flags for letter, name in _FLAGS.items()},
        )
        return rules if of_network(rules) == elements else None
    except (ValueError, InvalidArgument):
        return None


def of_port(owner: str, port: PublishedPort) -> dict[Key, Value]:
    """Of one that has been checked; but for `proxied`, where several may need one element."""
    place = _PORT.pack(_PROTOCOLS[port.protocol], port.host)
    said = f"{checked_id(owner)}-{port.container}-{port.ipv4}-{port.ipv6}-{port.address}"
    found = {Key("ports", place + _as_ipv6(port.address)): Value(said)}
    families = EVERYWHERE.get(port.address) or (6 if ":" in port.address else 4,)
    for family, target in ((4, port.ipv4), (6, port.ipv6)):
        if family in families and target and port.address != "::1":
            data = _packed(target) + _SERVICE.pack(port.container)
            if port.address in EVERYWHERE:
                key = Key(f"any{family}", place)
            else:
                key = Key(f"at{family}", _packed(port.address) + place)
            found[key] = Value(owner, data)
    return found


def proxied_at(port: PublishedPort) -> tuple[str, ...]:
    """The addresses of the host where a proxy has to stand in for a rule."""
    if port.address in ("", "::"):
        return ("::1",) if port.ipv6 else ("::",)
    if port.address == "::1" or (":" in port.address and not port.ipv6):
        return (port.address,)
    return ()


def of_ports(owner: str, ports: Iterable[PublishedPort]) -> dict[Key, Value]:
    found: dict[Key, Value] = {}
    for port in ports:
        found.update(of_port(owner, port))
    return found


def held_at(port: PublishedPort) -> tuple[str, ...]:
    """The addresses of the host where a rule leads elsewhere, and nobody shall listen who would never hear of anything."""
    if port.address in EVERYWHERE:
        found = (("0.0.0.0", 4, port.ipv4), ("::", 6, port.ipv6))
        return tuple(address for address, family, target in found if family in EVERYWHERE[port.address] and target)
    return () if port.address in proxied_at(port) else (port.address,)


def proxied(port: PublishedPort) -> Key | None:
    """The element that tells of a proxy which others than the host itself could reach."""
    if proxied_at(port) in ((), ("::1",)):
        return None
    return Key("proxied", _PORT.pack(_PROTOCOLS[port.protocol], port.host))


def proxied_like(declared: Key) -> Key:
    """The same for an element of `ports`, were it proxied."""
    return Key("proxied", declared.value[: _PORT.size])


@dataclass(frozen=True, slots=True)
class Translation:
    protocol: int
    host: int
    target: bytes
    container: int
    at: bytes
    """b"": all addresses of the host."""


def translations(elements: Elements) -> Iterator[Translation]:
    for key, value in elements.items():
        if key.set in _PORT_MAPS:
            at = key.value[: -_PORT.size]
            protocol, host = _PORT.unpack_from(key.value, len(at))
            target = value.data[: -_SERVICE.size]
            (container,) = _SERVICE.unpack_from(value.data, len(target))
            yield Translation(protocol, host, target, container, at)


def ports_in(elements: Elements) -> Iterator[PublishedPort]:
    """Those of one owner of which all is there, but for `proxied`."""
    for key, value in elements.items():
        port = _port(key, value) if key.set == "ports" else None
        if port and of_port(owner(value), port).items() <= elements.items():
            yield port


def described(key: Key) -> str:
    """For an error."""
    if key.set in NETWORK_SETS:
        name = key.value.rstrip(b"\0")
        return f"{key.set} {name.decode(errors='replace') if name.isascii() else name.hex(':')}"
    at = len(key.value) - _PORT.size if key.set in _PORT_MAPS else 0
    protocol, host = _PORT.unpack_from(key.value, at)
    where = f" at {ipaddress.ip_address(key.value[:at])}" if at else ""
    return f"port {host}/{_TRANSPORTS.get(protocol, protocol)}{where}"


def _port(key: Key, value: Value) -> PublishedPort | None:
    try:
        protocol, host = _PORT.unpack_from(key.value)
        _, container, ipv4, ipv6, address = value.comment.split("-")
        port = PublishedPort(host, int(container), address, _TRANSPORTS[protocol], ipv4, ipv6)
        return port if of_port(owner(value), port).get(key) == value else None
    except (ValueError, KeyError, struct.error, InvalidArgument):
        return None


def _as_ipv6(address: str) -> bytes:
    found = _packed(address or "::")
    return found if len(found) == 16 else _MAPPED + found


@lru_cache(maxsize=1 << 12)
def _packed(address: str) -> bytes:
    """Hundreds of ports lead to one container. Raises: ValueError."""
    return ipaddress.ip_address(address).packed


def _link(name: str) -> bytes:
    if not _LINK.fullmatch(name):
        raise InvalidArgument(f"{name[:80]!a} is not the name of a link")
    return name.encode().ljust(LINK_NAME, b"\0")


def _subnet(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise InvalidArgument(f"{text[:80]!a} is not a subnet") from error


def _interval(kind: str, subnet: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Key:
    first, after = subnet.network_address.packed, int(subnet.broadcast_address) + 1
    end = after.to_bytes(len(first), "big") if after < 1 << subnet.max_prefixlen else b""
    return Key(f"{kind}{subnet.version}", first, end)


def _subnet_in(elements: Elements, comment: str) -> str:
    """Raises: ValueError."""
    ((first, end),) = (
        (key.value, key.end)
        for key, value in elements.items()
        if value.comment == comment and key.set.startswith("subnets")
    )
    bits = 8 * len(first)
    size = (int.from_bytes(end, "big") if end else 1 << bits) - int.from_bytes(first, "big")
    return str(ipaddress.ip_network((first, bits - size.bit_length() + 1)))
