"""The process's work: what the engine asks for is done, written to the snapshot, and only then confirmed."""

import os
from collections.abc import Callable
from contextlib import suppress

from drivers.kernel import files
from drivers.network.names.control import Passed
from drivers.network.names.framing import Message
from drivers.network.names.hostservers import HostServers
from drivers.network.names.limits import Descriptors
from drivers.network.names.loop import Loop
from drivers.network.names.ports import Ports
from drivers.network.names.refusal import Refusal
from drivers.network.names.sandboxes import Sandboxes
from drivers.network.names.snapshot import Snapshot


class Service:
    def __init__(self, loop: Loop, descriptors: Descriptors, snapshot: Snapshot) -> None:
        self._loop = loop
        self._snapshot = snapshot
        self._sandboxes = Sandboxes(loop, descriptors, HostServers())
        self._ports = Ports(loop, descriptors)
        self._kept: int | None = None
        """A socket that is the engine's, and open as long as this process lives."""
        self._operations: dict[str, Callable[[Message], object]] = {
            "names.set": self._set_names,
            "names.get": lambda message: self._sandboxes.get(message["id"]),
            "names.remove": self._remove_names,
            "names.list": lambda _: self._sandboxes.list(),
            "proxies.set": self._set_ports,
            "proxies.get": lambda message: self._ports.get(message["owner"]),
            "proxies.list": lambda _: self._ports.list(),
            "socket.kept": lambda _: None if self._kept is None else Passed(self._kept),
            "socket.has": lambda _: self._kept is not None,
            "exit": self._exit,
        }

    def restore(self) -> tuple[int, int]:
        """What is there again and what is not any more: namespaces that are gone, ports that somebody took meanwhile."""
        found = lost = 0
        for kind, restore in (("names", self._restore_names), ("proxies", self._restore_ports)):
            for key, message in self._snapshot.load(kind):
                # Whatever somebody wrote there keeps no process from being there for all the others.
                with suppress(Exception):
                    if restore(key, message):
                        found += 1
                        continue
                lost += 1
                with suppress(OSError):
                    self._snapshot.remove(kind, key)
        return found, lost

    def handle(self, message: Message, came: list[int]) -> object:
        """Raises: Refusal."""
        if message.get("op") == "socket.keep":
            self._keep(came)
            return None
        operation = self._operations.get(message.get("op", ""))
        if operation is None:
            raise Refusal("Unsupported", "the resolver knows no such request")
        return operation(message)

    def _keep(self, came: list[int]) -> None:
        if not came:
            raise Refusal("InvalidArgument", "nothing came that could be kept")
        before, self._kept = self._kept, came.pop(0)
        if before is not None:
            os.close(before)

    def _restore_names(self, key: str, message: Message) -> bool:
        if message["id"] != key:
            return False
        self._sandboxes.set(message)
        return True

    def _restore_ports(self, owner: str, message: Message) -> bool:
        """Of those that somebody has by now the engine asks again."""
        return bool(self._ports.restore(owner, _forwards(message)))

    def _set_names(self, message: Message) -> None:
        sandbox = message["sandbox"]
        self._sandboxes.set(sandbox)
        self._save("names", sandbox["id"], sandbox)

    def _remove_names(self, message: Message) -> None:
        self._snapshot.remove("names", message["id"])
        self._sandboxes.remove(message["id"])

    def _set_ports(self, message: Message) -> None:
        owner, forwards = message["owner"], _forwards(message)
        self._ports.set(owner, forwards)
        if forwards:
            self._save("proxies", owner, {"forwards": forwards})
        else:
            self._snapshot.remove("proxies", owner)

    def _save(self, kind: str, key: str, message: Message) -> None:
        try:
            self._snapshot.save(kind, key, message)
        except OSError as error:
            reason = files.reason(error)
            raise Refusal("ResourceExhausted", f"the resolver cannot write its snapshot {reason}") from None

    def _exit(self, _message: Message) -> None:
        self._loop.stop()


def _forwards(message: Message) -> tuple[tuple[str, str, int, str, int], ...]:
    return tuple((str(p), str(a), int(n), str(t), int(m)) for p, a, n, t, m in message["forwards"])
