"""PURE: what admission may ask of the host and of the store: looked up only where a manifest makes it matter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from resources.container_parts import Port
from resources.object import Object
from resources.subnets import Network


@dataclass(frozen=True, slots=True)
class TakenPort:
    """A port of the host that some process listens on."""

    protocol: str
    address: str
    """"" for all of IPv4 and IPv6."""
    port: int
    what: str
    """Who: `nginx (pid 812)`."""


@dataclass(frozen=True, slots=True)
class HostAddresses:
    own: Sequence[str]
    """In the order of their links."""
    others: frozenset[int] = frozenset()
    """Families (4, 6) of which the administrator lets programs bind addresses that are not there (ip_nonlocal_bind)."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Addresses that the host reaches over a link of its own, which is no network of ours."""

    subnet: Network
    link: str


@dataclass(frozen=True, slots=True)
class Host:
    """As it is, it knows nothing: for who judges manifests where no host is."""

    taken: Callable[[Port], TakenPort | None] = lambda _: None
    """What no container of ours listens on there already."""
    addresses: Callable[[], HostAddresses | None] = lambda: None
    neighbours: Callable[[], Sequence[Neighbours]] = lambda: ()
    held: Callable[[str], Mapping[str, Sequence[str]]] = lambda _: {}
    """The addresses that the container of this uid has, by the uid of the network."""
    given: Callable[[str], Sequence[str]] = lambda _: ()
    """The subnet that the network of this uid has got, where it asked for none."""
    published: Callable[[Object], Sequence[int]] = lambda _: ()
    """The ports of the host that the container has, in the order of its `ports`; () as long as it has not all of them."""
