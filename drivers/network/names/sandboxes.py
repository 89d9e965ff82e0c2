"""All sandboxes that are served."""

import os
from collections.abc import Callable

from drivers.network.names.doorway import Doorway, identity
from drivers.network.names.forwarding import Forwarder
from drivers.network.names.framing import Message
from drivers.network.names.hostservers import HostServers
from drivers.network.names.limits import Descriptors
from drivers.network.names.loop import Loop
from drivers.network.names.nameserver import NameServer
from drivers.network.names.refusal import Refusal
from drivers.network.names.wire import WireError
from drivers.network.names.zones import Zones

_DESCRIPTORS = 3


class Rules:
    """Where a sandbox's questions may go."""

    __slots__ = ("_host", "_servers", "forward")

    def __init__(self, message: Message, host: Callable[[], tuple[str, ...]]) -> None:
        self.forward = bool(message["forward"])
        self._servers = tuple(message["servers"])
        self._host = host

    def servers(self) -> tuple[str, ...]:
        return self._servers or self._host()


class Sandboxes:
    def __init__(self, loop: Loop, descriptors: Descriptors, host: HostServers) -> None:
        self._loop = loop
        self._descriptors = descriptors
        self._host = host
        self._zones = Zones()
        self._forwarder = Forwarder(loop, descriptors)
        self._messages: dict[str, Message] = {}
        self._servers: dict[str, NameServer] = {}

    def set(self, message: Message) -> None:
        """Raises: Refusal, and all is as it was."""
        key = message["id"]
        server = self._servers.get(key)
        doorway = None
        if server is None or not self._served(key, message["netns"]):
            doorway = self._open(message["netns"])
        try:
            self._zones.set(key, message["members"])
        except (WireError, OSError, ValueError):
            if doorway is not None:
                self._give_back(doorway)
            raise Refusal("InvalidArgument", "a name or an address is none") from None
        rules = Rules(message, lambda: self._host.current(self._loop.now))
        if doorway is not None:
            if server is not None:
                server.close()
                self._descriptors.give_back(_DESCRIPTORS)
            self._servers[key] = NameServer(self._loop, self._zones, self._forwarder, key, doorway, rules)
        elif server is not None:
            server.policy = rules
        self._messages[key] = message

    def get(self, key: str) -> Message | None:
        message = self._messages.get(key)
        return message if message is not None and self._served(key, message["netns"]) else None

    def remove(self, key: str) -> None:
        self._messages.pop(key, None)
        self._zones.remove(key)
        server = self._servers.pop(key, None)
        if server is not None:
            server.close()
            self._descriptors.give_back(_DESCRIPTORS)

    def list(self) -> list[str]:
        """Those too whose namespace is bound nowhere any more: we hold it."""
        return sorted(self._messages)

    def _served(self, key: str, netns: str) -> bool:
        doorway = self._servers[key].doorway
        return identity(netns) == doorway.identity and doorway.redirect.intact()

    def _open(self, netns: str) -> Doorway:
        if not self._descriptors.take(_DESCRIPTORS, first=True):
            raise Refusal("ResourceExhausted", "the resolver has no descriptors left for another sandbox")
        try:
            return Doorway(netns)
        except OSError as error:
            self._descriptors.give_back(_DESCRIPTORS)
            reason = os.strerror(error.errno) if error.errno else "it cannot be entered"
            raise Refusal("Unavailable", f"no names in the network namespace {netns}: {reason}") from None

    def _give_back(self, doorway: Doorway) -> None:
        doorway.close()
        self._descriptors.give_back(_DESCRIPTORS)
