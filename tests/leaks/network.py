"""Links, addresses, routes, rules, neighbours, firewall objects, listeners and kernel settings."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.leaks.model import Item

SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/conf/*/forwarding",
    "net/ipv4/conf/*/route_localnet",
    "net/ipv4/conf/*/rp_filter",
    "net/ipv4/conf/*/arp_ignore",
    "net/ipv4/conf/*/proxy_arp",
    "net/ipv6/conf/*/forwarding",
    "net/ipv6/conf/*/disable_ipv6",
    "net/ipv6/conf/*/accept_ra",
    "net/bridge/bridge-nf-call-*",
    "net/netfilter/nf_conntrack_max",
    "net/core/somaxconn",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "kernel/core_pattern",
    "kernel/pid_max",
    "kernel/keys/maxkeys",
    "kernel/unprivileged_bpf_disabled",
    "kernel/dmesg_restrict",
    "kernel/shm*",
    "kernel/msg*",
    "kernel/sem",
    "fs/file-max",
    "fs/inotify/max_*",
    "fs/mqueue/*_max",
    "fs/suid_dumpable",
    "user/max_*_namespaces",
    "vm/max_map_count",
    "vm/overcommit_memory",
)
VOLATILE = {"handle", "packets", "bytes", "expires", "index", "used"}


def _json(*command: str) -> list[dict[str, Any]]:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(answer.stdout) if answer.returncode == 0 and answer.stdout.strip() else []


def network_items() -> Iterator[Item]:
    links = _json("ip", "-j", "-d", "addr")
    for link in links:
        if "ifname" in link:
            yield from _link_items(link)
    yield from _route_items()
    for family in ("-4", "-6"):
        for rule in _json("ip", "-j", family, "rule"):
            yield Item("rule", f"{family} {_text(rule)}", anonymous=True, shared=True)
    for neighbour in _json("ip", "-j", "neigh", "show", "nud", "permanent"):
        yield Item("neighbour", _text(neighbour), (neighbour["dev"],))
    for entry in _json("bridge", "-j", "fdb"):
        yield Item("fdb", _text(entry), (entry.get("ifname", ""), entry.get("master", "")))


def _link_items(link: dict[str, Any]) -> Iterator[Item]:
    name = link["ifname"]
    names = (name, link.get("ifalias", ""), *link.get("altnames", ()))
    kind = link.get("linkinfo", {}).get("info_kind", link.get("link_type", ""))
    yield Item("link", f"{name} #{link['ifindex']} ({kind}) {link.get('ifalias', '')}".rstrip(), names)
    for address in link.get("addr_info", ()):
        if "local" in address:
            text = f"{address['local']}/{address['prefixlen']} on {name} {address.get('label', '')}".rstrip()
            lasting = _is_lasting(name)
            yield Item("address", text, (*names, address.get("label", "")), anonymous=lasting, shared=lasting)


def _route_items() -> Iterator[Item]:
    for family in ("-4", "-6"):
        for route in _json("ip", "-j", family, "route", "show", "table", "all"):
            for word in ("flags", "expires", "cache"):
                route.pop(word, None)
            device = str(route.get("dev", ""))
            lasting = _is_lasting(device)
            yield Item("route", f"{family} {_text(route)}", (device,), anonymous=lasting, shared=lasting)


def _is_lasting(device: str) -> bool:
    """A link of the machine itself: nobody but the one at fault changes its addresses and routes during a test."""
    return device in {"", "lo"} or Path(f"/sys/class/net/{device}/device").exists()


def _text(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(values.items()) if value not in (None, [], ""))


def firewall_items() -> Iterator[Item]:
    """Every object of every table; a rule that lies in someone else's table is evidence of its own words only."""
    answer = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=False)
    if answer.returncode or not answer.stdout.strip():
        return
    for entry in json.loads(answer.stdout)["nftables"]:
        for kind, body in entry.items():
            if kind == "metainfo":
                continue
            elements = body.pop("elem", []) if kind in {"map", "set"} else []
            text = json.dumps(_steady(body), sort_keys=True)
            yield Item(f"nft {kind}", text, (text,))
            prefix = f"{body.get('family')} {body.get('table')} {body.get('name')}"
            for element in elements:
                words = json.dumps(_steady(element), sort_keys=True)
                yield Item("nft element", f"{prefix}: {words}", (prefix, words))


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(inner) for name, inner in value.items() if name not in VOLATILE}
    if isinstance(value, list):
        return [_steady(inner) for inner in value]
    return value


def setting_items() -> Iterator[Item]:
    for pattern in SETTINGS:
        for path in sorted(Path("/proc/sys").glob(pattern)):
            try:
                value = " ".join(path.read_text().split())
            except OSError:
                continue
            name = str(path.relative_to("/proc/sys"))
            yield Item("setting", name, value=value)


def listener_items(links: Mapping[int, tuple[str, ...]]) -> Iterator[Item]:
    holders: dict[str, list[int]] = {}
    for pid, texts in links.items():
        for text in texts:
            if text.startswith("socket:["):
                holders.setdefault(text[8:-1], []).append(pid)
    for protocol, listening in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == listening:
                address, _, port = fields[1].partition(":")
                pids = tuple(sorted(holders.get(fields[9], ())))
                yield Item("listener", f"{protocol} {address}:{int(port, 16)} inode {fields[9]}", (), pids)
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8:
            pids = tuple(sorted(holders.get(fields[6], ())))
            yield Item("unix socket", f"{fields[7]} inode {fields[6]}", (fields[7],), pids)
