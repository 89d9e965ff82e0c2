"""The text of a container's /etc/hostname, /etc/hosts and /etc/resolv.conf.

Nothing of a user's reaches a file but through `checked`: one value could otherwise be several lines (RT-09).
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers.network.interface import SandboxFiles
from resources.errors import InvalidArgument

NAMES = ("hostname", "hosts", "resolv.conf")

_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")
"""The kernel takes 64 characters."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_DOMAIN = re.compile(r"\.|[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,127}")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9_.-]{1,15})?")
_MAX_HOST_FILE = 1 << 20
_RESOLVED_STUB = "127.0.0.53"

_LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Where the host's own files are."""

    hosts: Path = Path("/etc/hosts")
    resolv_conf: Path = Path("/etc/resolv.conf")
    resolved: Path = Path("/run/systemd/resolve/resolv.conf")
    """What systemd-resolved itself asks, where /etc/resolv.conf names only its own loopback address."""


def contents(files: SandboxFiles, host: HostFiles) -> Mapping[str, bytes]:
    """The bytes of each of NAMES. Raises: InvalidArgument naming the value that is no such thing."""
    hostname = _checked(_HOSTNAME, files.hostname, "a host name")
    return {
        "hostname": f"{hostname}\n".encode(),
        "hosts": _hosts(files, host),
        "resolv.conf": _resolv_conf(files, host),
    }


def _hosts(files: SandboxFiles, host: HostFiles) -> bytes:
    extra = "".join(
        f"{_address(address)}\t{_checked(_NAME, name, 'a host name')}\n" for name, address in files.extra_hosts.items()
    ).encode()
    if files.host_network:
        own = _read(host.hosts) or _LOCAL.encode()
        return own + (b"" if own.endswith(b"\n") else b"\n") + extra
    # Programs look up their own name; without an address of its own the container is reached on loopback.
    addresses = [_address(address) for address in files.addresses] or ["127.0.0.1"]
    return _LOCAL.encode() + "".join(f"{address}\t{files.hostname}\n" for address in addresses).encode() + extra


def _resolv_conf(files: SandboxFiles, host: HostFiles) -> bytes:
    if files.host_network and files.nameservers is files.search is files.options is None:
        return _read(host.resolv_conf)
    own = _parse(_read(host.resolv_conf))
    servers: Sequence[str] = own["nameserver"]
    if not files.host_network:
        if servers == [_RESOLVED_STUB]:
            servers = _parse(_read(host.resolved))["nameserver"] or servers
        # A loopback address there is another loopback than the host's.
        servers = [server for server in servers if not _is_loopback(server)]
    if files.nameservers is not None:
        servers = [_address(server) for server in files.nameservers]
    search: Sequence[str] = own["search"]
    if files.search is not None:
        search = [_checked(_DOMAIN, domain, "a search domain") for domain in files.search]
    options: Sequence[str] = own["options"]
    if files.options is not None:
        options = [_checked(_OPTION, option, "a resolver option") for option in files.options]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "".join(f"{line}\n" for line in lines).encode()


def _parse(text: bytes) -> Mapping[str, list[str]]:
    """What the host's own file says, kept where it is well formed; the last `search` holds, `options` add up."""
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in text.decode(errors="replace").splitlines():
        key, *words = re.split(r"[#;]", line, maxsplit=1)[0].split() or [""]
        if key == "nameserver" and words and _ADDRESS.fullmatch(words[0]):
            found["nameserver"].append(words[0])
        elif key in ("search", "domain"):
            found["search"] = [word for word in words if _DOMAIN.fullmatch(word)]
        elif key == "options":
            found["options"] += [word for word in words if _OPTION.fullmatch(word)]
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_HOST_FILE)
    except OSError:
        return b""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _address(value: str) -> str:
    _checked(_ADDRESS, value, "an address")  # first: ipaddress takes anything for the zone after a `%`
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        raise InvalidArgument(f"{value!a} is not an address") from error


def _checked(pattern: re.Pattern[str], value: str, what: str) -> str:
    if pattern.fullmatch(value) is None:
        raise InvalidArgument(f"{value[:100]!a} is not {what}", hint="letters, digits, '.', '_' and '-'")
    return value
