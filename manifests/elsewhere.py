"""What other tools call it (PURE): the field, or the way, that the language has for it.

Keys are looked up without capitals, `_` and `-`: `cap_add`, `capAdd`.
"""

from collections.abc import Mapping

from manifests.node import Node, Scalar
from resources.container import ContainerSpec
from resources.container_parts import NetworkAttachment, Port
from resources.meta import NAME, Model
from resources.network import Ipam, NetworkSpec, Subnet

_FOUND = "containers on one network find each other by their names and aliases: leave it out"
_REACHED = "containers on one network reach every port of each other: leave it out"
_PULL = "an Image says when it is pulled: declare one with from: {registry: NAME} and pull: missing, always or never"
_UNSUPPORTED = "not supported by this version"
_OF_A_NETWORK = " of one of its networks"
_OF_A_SUBNET = " of one of its subnets"

_MEANT: Mapping[type[Model], Mapping[str, str]] = {
    ContainerSpec: {
        "aliases": f"aliases{_OF_A_NETWORK}",
        "args": "command",
        "capadd": "security.capabilities.add",
        "capdrop": "security.capabilities.drop",
        "cmd": "command",
        "containername": "metadata.name",
        "cpu": "resources.cpus",
        "dnsopt": "dns.options",
        "dnsoptions": "dns.options",
        "dnssearch": "dns.search",
        "domainname": "dns.search",
        "environment": "env",
        "healthcheck": "health",
        "ip": f"ipv4{_OF_A_NETWORK}",
        "ipv4address": f"ipv4{_OF_A_NETWORK}",
        "ipv6address": f"ipv6{_OF_A_NETWORK}",
        "labels": "metadata.labels",
        "livenessprobe": "health",
        "macaddress": f"mac{_OF_A_NETWORK}",
        "memlimit": "resources.memory",
        "network": "networks",
        "networkmode": "networks",
        "publish": "ports",
        "readinessprobe": "health",
        "restartpolicy": "restart",
        "securitycontext": "security",
        "stopgraceperiod": "stop.timeout",
        "stopsignal": "stop.signal",
        "tmpfs": "mounts",
        "volumemounts": "mounts",
        "volumes": "mounts",
    },
    NetworkAttachment: {
        "gwpriority": "defaultRoute",
        "ipv4address": "ipv4",
        "ipv6address": "ipv6",
        "macaddress": "mac",
        "network": "name",
        "priority": "defaultRoute",
    },
    Port: {
        "containerport": "container",
        "hostip": "address",
        "hostport": "host",
        "published": "host",
        "target": "container",
    },
    NetworkSpec: {
        "auxaddresses": f"reserved{_OF_A_SUBNET}",
        "driveropts": "options",
        "gateway": f"gateway{_OF_A_SUBNET}",
        "iprange": f"ipRange{_OF_A_SUBNET}",
        "subnet": "subnets",
    },
    Subnet: {"auxaddresses": "reserved"},
}
_SAID: Mapping[type[Model], Mapping[str, str]] = {
    ContainerSpec: {
        "build": "this version builds no images: build it elsewhere, and declare an Image with from: {archive: FILE}",
        "devices": f"devices are {_UNSUPPORTED}",
        "expose": _REACHED,
        "externallinks": _FOUND,
        "imagepullpolicy": _PULL,
        "links": _FOUND,
        "privileged": f"containers with all rights are {_UNSUPPORTED}: name those it needs in security.capabilities.add",
        "pullpolicy": _PULL,
        "replicas": "a document is one container: write one for each, with a name of its own",
    },
    NetworkAttachment: {
        "driveropts": "an attachment has no options: leave it out",
        "linklocalips": "an attachment has one address of each family, ipv4 and ipv6: leave it out",
    },
    Port: {"mode": "a port is always one of the host: leave it out"},
    NetworkSpec: {
        "attachable": "every container of the namespace may join: leave it out",
        "enableipv6": 'a network has IPv6 when its subnets say so: subnets: [10.42.0.0/24, "fd00:42::/64"]',
        "external": "a network that is there already needs no document of its own: leave this one out",
    },
    Ipam: {
        "config": "write subnets: [{subnet: 10.42.0.0/24, gateway: 10.42.0.1, ipRange: 10.42.0.128/25}] beside ipam"
    },
}


def elsewhere(key: str, node: Node, model: type[Model]) -> str:
    """`; did you mean …?` or what to do about it; "" of a key that nobody has."""
    folded = _folded(key)
    if model is ContainerSpec and folded == "networkmode" and isinstance(node, Scalar):
        mode = _network_mode(node.text)
        if mode:
            return f"; write networks: [{mode}]" + (", or leave it out" if mode == "bridge" else "")
    field, said = meant(key, model), _SAID.get(model, {}).get(folded)
    return f"; did you mean {field}?" if field else f"; {said}" if said else ""


def meant(key: str, model: type[Model]) -> str:
    """The field; "" of a key that nobody has."""
    return _MEANT.get(model, {}).get(_folded(key), "")


def _folded(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def _network_mode(text: str) -> str:
    kind, colon, name = text.partition(":")
    if colon and kind in ("container", "service") and NAME.fullmatch(name):
        return f"{{container: {name}}}"
    return text if NAME.fullmatch(text) else ""
