"""Firewalls of others that drop what is forwarded, and Docker's that does not: seen, told, and left alone."""

from collections.abc import Collection
from pathlib import Path

from drivers.network.firewall import docker
from drivers.network.firewall.expressions import DROP
from drivers.network.firewall.layout import FORWARD
from drivers.network.firewall.messages import chains
from drivers.network.firewall.nfnetlink import INET, IPV4, IPV6, Nfnetlink, body, family, number, word
from drivers.network.netlink.messages import attributes

_FAMILIES = {IPV4: "ip", IPV6: "ip6", INET: "inet"}
_COMMANDS = {"ip": "iptables", "ip6": "ip6tables"}
_LEGACY = {
    "IPv4": Path("/proc/thread-self/net/ip_tables_names"),
    "IPv6": Path("/proc/thread-self/net/ip6_tables_names"),
}


def obstacles(link: Nfnetlink, table: str, prefix: str, accepted: Collection[int]) -> list[str]:
    """What may keep packets from containers although our own rules let them pass, one line each, with what to do.
    `accepted` are the families in which Docker's chain has our rules."""
    listed = [
        (one, body(one))
        for version in _FAMILIES
        for one in link.dump("cannot list the firewall's chains", chains(version))
        if family(one) == version
    ]
    ufw = {family(one) for one, attrs in listed if word(attrs.get(3, b"")).startswith(("ufw-", "ufw6-"))}
    drops = {family(one) for one, attrs in listed if word(attrs.get(3, b"")) == docker.DROPPING}
    found = []
    for one, attrs in listed:
        theirs = word(attrs.get(1, b""))
        if theirs == table:
            continue
        if family(one) in accepted and theirs == docker.TABLE:
            if family(one) not in drops and _filters_forwarded(attrs) and not _drops(attrs):
                found.append(_for_docker(_FAMILIES[family(one)], _clean(word(attrs.get(3, b"")))))
        elif _filters_forwarded(attrs) and _drops(attrs):
            where = (
                f"`{_clean(word(attrs.get(3, b'')))}` of the firewall table `{_FAMILIES[family(one)]} {_clean(theirs)}`"
            )
            what = _for_ufw(prefix) if family(one) in ufw else f"let it accept what comes from or goes to `{prefix}*`"
            found.append(f"the chain {where} drops what is forwarded and not known to it: {what}")
        elif theirs == "firewalld" and word(attrs.get(3, b"")) == "filter_FORWARD":
            found.append(
                "firewalld rejects what is forwarded between links of no zone: "
                f"`firewall-cmd --permanent --zone=trusted --add-interface={prefix}+` and `firewall-cmd --reload`"
            )
    return found + _legacy(prefix)


def _filters_forwarded(attrs: dict[int, bytes]) -> bool:
    hook = attributes(attrs.get(4, b""))
    return word(attrs.get(7, b"")) == "filter" and number(hook.get(1, b"\xff")) == FORWARD


def _drops(attrs: dict[int, bytes]) -> bool:
    return number(attrs.get(5, b"\1")) == DROP


def _for_docker(version: str, chain: str) -> str:
    """It would have changed the policy itself, had nothing been forwarded before it came."""
    return (
        f"the chain `{chain}` of the firewall table `{version} {docker.TABLE}` lets pass what is forwarded and not known to "
        "it, so that other machines which route to this one reach ports of Docker's containers that are not published: "
        f"`{_COMMANDS[version]} -P {chain} DROP`"
    )


def _for_ufw(prefix: str) -> str:
    return (
        f'`ufw route allow in on {prefix}+` and `ufw route allow out on {prefix}+`, or DEFAULT_FORWARD_POLICY="ACCEPT" '
        "in /etc/default/ufw"
    )


def _legacy(prefix: str) -> list[str]:
    """The older iptables, whose rules nftables does not show."""
    found = []
    for version, path in _LEGACY.items():
        try:
            used = "filter" in path.read_text().split()
        except OSError:
            continue
        if used:
            found.append(
                f"rules of iptables-legacy for {version} are loaded, which cannot be looked into, and drop what containers "
                f"send if they drop what is forwarded: let them accept what comes from or goes to `{prefix}+`"
            )
    return found


def _clean(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name)[:60]
