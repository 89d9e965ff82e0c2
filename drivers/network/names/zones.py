"""Who is called what, and who may see it. Pure.

A sandbox sees the names on the networks it is a member of, and no others. A name may be many members', and a member's
addresses may be of both families.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from drivers.network.names.wire import encode_name, pack_address

V = TypeVar("V")

Member = tuple[str, Sequence[str], Sequence[str]]
"""Network, names, addresses."""


_MAX_KNOWN = 4096


class Addresses(NamedTuple):
    ipv4: tuple[bytes, ...]
    ipv6: tuple[bytes, ...]


class Zones:
    def __init__(self) -> None:
        self._networks: dict[str, tuple[str, ...]] = {}
        """Of each sandbox."""
        self._names: dict[str, dict[bytes, dict[str, Addresses]]] = {}
        """By network, name and sandbox."""
        self._owners: dict[str, dict[bytes, dict[str, bytes]]] = {}
        """By network, address and sandbox: the name that a reverse lookup gives."""
        self._keys: dict[str, list[tuple[str, tuple[bytes, ...], tuple[bytes, ...]]]] = {}
        """What was entered for each sandbox, to be taken out again."""
        self._known: dict[tuple[tuple[str, ...], bytes], Addresses] = {}
        """Names of a thousand members, put together once. Forgotten with every change."""

    def set(self, sandbox_id: str, members: Iterable[Member]) -> None:
        """Raises: WireError, OSError for what is no name or no address, and then changes nothing."""
        parsed = [
            (network, tuple(map(encode_name, names)), tuple(map(pack_address, addresses)))
            for network, names, addresses in members
        ]
        self.remove(sandbox_id)
        self._networks[sandbox_id] = tuple(dict.fromkeys(network for network, _, _ in parsed))
        self._keys[sandbox_id] = parsed
        for network, names, addresses in parsed:
            found = Addresses(
                tuple(one for one in addresses if len(one) == 4), tuple(one for one in addresses if len(one) == 16)
            )
            for name in names:
                self._names.setdefault(network, {}).setdefault(name, {})[sandbox_id] = found
            for address in addresses if names else ():
                self._owners.setdefault(network, {}).setdefault(address, {})[sandbox_id] = names[0]

    def remove(self, sandbox_id: str) -> None:
        self._known.clear()
        self._networks.pop(sandbox_id, None)
        for network, names, addresses in self._keys.pop(sandbox_id, ()):
            _take_out(self._names, network, names, sandbox_id)
            _take_out(self._owners, network, addresses, sandbox_id)

    def addresses(self, sandbox_id: str, name: bytes) -> Addresses | None:
        """What the sandbox gets for a name; None for one that it does not see. Of one address each is told once."""
        networks = self._networks.get(sandbox_id, ())
        known = self._known.get((networks, name))
        if known is None:
            found = [one for network in networks for one in self._names.get(network, {}).get(name, {}).values()]
            if not found:
                return None
            known = Addresses(
                tuple(dict.fromkeys([address for one in found for address in one.ipv4])),
                tuple(dict.fromkeys([address for one in found for address in one.ipv6])),
            )
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[networks, name] = known
        return known

    def names_at(self, sandbox_id: str, address: bytes) -> tuple[bytes, ...]:
        names: dict[bytes, None] = {}
        for network in self._networks.get(sandbox_id, ()):
            names.update(dict.fromkeys(self._owners.get(network, {}).get(address, {}).values()))
        return tuple(names)


def _take_out(index: dict[str, dict[bytes, dict[str, V]]], network: str, keys: Iterable[bytes], sandbox: str) -> None:
    of_network = index.get(network, {})
    for key in keys:
        of_key = of_network.get(key, {})
        of_key.pop(sandbox, None)
        if not of_key:
            of_network.pop(key, None)
    if not of_network:
        index.pop(network, None)
