"""What the resolver may be told, checked before it is believed, and its form in messages and in the snapshot."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from drivers.network.names.interface import Forward, MemberNames, SandboxNames
from resources.errors import InvalidArgument

_SANDBOX = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_MAX_MEMBERS = 256
_MAX_NAMES = 256
_MAX_FORWARDS = 1 << 15


def checked_sandbox(sandbox_id: str) -> str:
    if not _SANDBOX.fullmatch(sandbox_id):
        raise InvalidArgument(f"{sandbox_id[:80]!r} is not a sandbox id: 64 hex digits are")
    return sandbox_id


def checked_owner(owner: str) -> str:
    if not _ID.fullmatch(owner):
        raise InvalidArgument(f"{owner[:80]!r} is not the id of an object")
    return owner


def checked_names(sandbox: SandboxNames) -> SandboxNames:
    checked_sandbox(sandbox.sandbox_id)
    if not sandbox.netns.is_absolute() or "\0" in str(sandbox.netns):
        raise InvalidArgument("the path of a network namespace is absolute")
    if len(sandbox.members) > _MAX_MEMBERS or len(sandbox.servers) > 8:
        raise InvalidArgument(f"a sandbox has at most {_MAX_MEMBERS} networks and 8 name servers")
    for member in sandbox.members:
        checked_owner(member.network_id)
        if len(member.names) > _MAX_NAMES or len(member.addresses) > 64:
            raise InvalidArgument(f"a sandbox has at most {_MAX_NAMES} names and 64 addresses on a network")
        for name in member.names:
            if len(name) > 253 or not _NAME.fullmatch(name):
                raise InvalidArgument(
                    f"{name[:80]!r} is not a host name", hint="labels of a-z, 0-9, - and _, with dots between them"
                )
        for address in member.addresses:
            _checked_address(address, zone=False)
    for server in sandbox.servers:
        _checked_address(server)
    return sandbox


def checked_forwards(owner: str, forwards: Sequence[Forward]) -> tuple[Forward, ...]:
    checked_owner(owner)
    if len(forwards) > _MAX_FORWARDS:
        raise InvalidArgument(f"at most {_MAX_FORWARDS} ports are held or proxied for one object")
    for forward in forwards:
        if forward.protocol not in ("tcp", "udp"):
            raise InvalidArgument(f"{str(forward.protocol)[:20]!r} is not a protocol: tcp and udp are")
        _checked_address(forward.address)
        numbers = [forward.port]
        if forward.target:
            _checked_address(forward.target)
            numbers.append(forward.target_port)
        for port in numbers:
            if not 0 < port < 65536:
                raise InvalidArgument(f"{port} is not a port: 1 to 65535 are")
    return tuple(dict.fromkeys(forwards))


@lru_cache(maxsize=1 << 12)
def _checked_address(address: str, *, zone: bool = True) -> None:
    try:
        parsed = ip_address(address)
    except ValueError:
        raise InvalidArgument(f"{address[:80]!r} is not an IP address") from None
    name = getattr(parsed, "scope_id", None)
    if name is not None and (not zone or not _ID.fullmatch(name)):
        raise InvalidArgument(f"{address[:80]!r}: no zone can stand there")


def sandbox_message(sandbox: SandboxNames) -> dict[str, Any]:
    return {
        "id": sandbox.sandbox_id,
        "netns": str(sandbox.netns),
        "members": [[m.network_id, list(m.names), list(m.addresses)] for m in sandbox.members],
        "forward": sandbox.forward,
        "servers": list(sandbox.servers),
    }


def sandbox_from(message: dict[str, Any]) -> SandboxNames:
    return SandboxNames(
        message["id"],
        Path(message["netns"]),
        tuple(MemberNames(network, tuple(names), tuple(addresses)) for network, names, addresses in message["members"]),
        message["forward"],
        tuple(message["servers"]),
    )


def forward_message(forward: Forward) -> list[Any]:
    return [forward.protocol, forward.address, forward.port, forward.target, forward.target_port]


def forward_from(message: list[Any]) -> Forward:
    return Forward(*message)
