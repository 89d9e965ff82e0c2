"""What links of ours are called: a prefix of the instance and a hash in the name, which holds 15 characters, and the whole
ids in the alias. The firewall knows all of an instance by the prefix.
"""

from hashlib import sha256

from drivers.network.arguments import is_network_id

_NETWORK, _ENDPOINT = "network", "endpoint"


def link_prefix(instance: str) -> str:
    return f"ld{_digits(instance, 4)}"


def bridge_name(instance: str, network_id: str) -> str:
    return f"{link_prefix(instance)}b{_digits(network_id, 8)}"


def port_name(instance: str, sandbox_id: str, network_id: str) -> str:
    """The host's end of an endpoint."""
    return f"{link_prefix(instance)}v{_digits(sandbox_id + network_id, 8)}"


def link_mac(alias: str) -> str:
    """One of its own: that of a bridge which has none changes with its ports, and one made at random is changed by udev."""
    digits = _digits(alias, 10)
    return ":".join(["02", *(digits[at : at + 2] for at in range(0, 10, 2))])


def network_alias(instance: str, network_id: str) -> str:
    return f"{instance}:{_NETWORK}:{network_id}"


def endpoint_alias(instance: str, sandbox_id: str, network_id: str) -> str:
    return f"{instance}:{_ENDPOINT}:{sandbox_id}:{network_id}"


def network_of_alias(alias: str, start: str) -> str | None:
    """What follows `start`, which is the alias of a network, or of a sandbox's endpoint, with an empty network id."""
    network_id = alias.removeprefix(start)
    return network_id if alias.startswith(start) and is_network_id(network_id) else None


def _digits(text: str, count: int) -> str:
    return sha256(text.encode()).hexdigest()[:count]
