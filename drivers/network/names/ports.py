"""All ports that are proxied, and whose they are."""

import errno
import os
import socket
from collections.abc import Sequence

from drivers.network.names.limits import Descriptors
from drivers.network.names.loop import Loop
from drivers.network.names.refusal import Refusal
from drivers.network.names.tcpproxy import TcpProxy
from drivers.network.names.udpproxy import UdpProxy

Place = tuple[str, str, int]
"""Protocol, address, port."""
Forward = tuple[str, str, int, str, int]
"""A place and its target."""


class Ports:
    def __init__(self, loop: Loop, descriptors: Descriptors) -> None:
        self._loop = loop
        self._descriptors = descriptors
        self._open: dict[Place, tuple[str, TcpProxy | UdpProxy]] = {}
        """And the owner."""
        self._forwards: dict[str, tuple[Forward, ...]] = {}

    def set(self, owner: str, forwards: tuple[Forward, ...]) -> None:
        """Raises: Refusal, and all is as it was."""
        places = [forward[:3] for forward in forwards]
        if len(set(places)) < len(places):
            raise Refusal("Conflict", "one port cannot lead to two targets")
        before = self._forwards.get(owner, ())
        withdrawn = [forward[:3] for forward in before if forward[:3] not in places]
        new = [place for place in places if self._open.get(place, ("", None))[0] != owner]
        # What goes may be in the way of what comes: `::` and `::1` cannot have one port both.
        moved = [one for one in withdrawn if any((one[0], one[2]) == (place[0], place[2]) for place in new)]
        for place in moved:
            self._close(place)
        opened: list[Place] = []
        try:
            for place in new:
                self._listen(owner, place)
                opened.append(place)
        except Refusal:
            for place in opened:
                self._close(place)
            self._reopen(owner, moved, before)
            raise
        for place in withdrawn:
            self._close(place)
        self._lead(forwards)
        if forwards:
            self._forwards[owner] = forwards
        else:
            self._forwards.pop(owner, None)

    def get(self, owner: str) -> tuple[Forward, ...]:
        return self._forwards.get(owner, ())

    def list(self) -> list[str]:
        return sorted(self._forwards)

    def _lead(self, forwards: tuple[Forward, ...]) -> None:
        for protocol, address, port, target, target_port in forwards:
            self._open[protocol, address, port][1].lead_to(target, target_port)

    def _listen(self, owner: str, place: Place) -> None:
        protocol, address, port = place
        taken = self._open.get(place)
        if taken is not None:
            raise Refusal("Conflict", f"port {port}/{protocol} at {address} is taken: object {taken[0]} has it")
        if not self._descriptors.take(1, first=True):
            raise Refusal("ResourceExhausted", "the resolver has no descriptors left for another port")
        kind = TcpProxy if protocol == "tcp" else UdpProxy
        try:
            self._open[place] = (owner, kind(self._loop, self._descriptors, address, port))
        except OSError as error:
            self._descriptors.give_back(1)
            raise self._reason(error, place) from None

    def _reason(self, error: OSError, place: Place) -> Refusal:
        protocol, address, port = place
        what = f"port {port}/{protocol} at {address}"
        if error.errno == errno.EADDRINUSE:
            owners = {owner for (p, _, n), (owner, _) in self._open.items() if (p, n) == (protocol, port)}
            holder = f"object {owners.pop()} has it" if owners else "a process on the host listens there"
            return Refusal("Conflict", f"{what} is taken: {holder}")
        if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            return Refusal("FailedPrecondition", f"{what} cannot be proxied: the host has no such address")
        return Refusal("Unavailable", f"{what} cannot be proxied: {os.strerror(error.errno or errno.EIO)}")

    def _reopen(self, owner: str, places: Sequence[Place], forwards: tuple[Forward, ...]) -> None:
        lost: set[Place] = set()
        for place in places:
            try:
                self._listen(owner, place)
            except Refusal:  # somebody was quicker
                lost.add(place)
        kept = tuple(forward for forward in forwards if forward[:3] not in lost)
        self._forwards[owner] = kept
        self._lead(kept)

    def _close(self, place: Place) -> None:
        found = self._open.pop(place, None)
        if found is not None:
            found[1].close()
            self._descriptors.give_back(1)
