"""All ports that are proxied or held, and whose they are."""

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from drivers.network.names.limits import Descriptors
from drivers.network.names.loop import Loop
from drivers.network.names.refusal import Refusal
from drivers.network.names.sockets import held, share
from drivers.network.names.tcpproxy import TcpProxy
from drivers.network.names.udpproxy import UdpProxy

Place = tuple[str, str, int]
"""Protocol, address, port."""
Forward = tuple[str, str, int, str, int]
"""A place and its target; "" of one that is only held."""

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_ALL6 = "::"


class Ports:
    def __init__(self, loop: Loop, descriptors: Descriptors) -> None:
        self._loop = loop
        self._descriptors = descriptors
        self._open: dict[Place, tuple[str, TcpProxy | UdpProxy | socket.socket]] = {}
        """And the owner. A plain socket only holds the port."""
        self._forwards: dict[str, tuple[Forward, ...]] = {}

    def set(self, owner: str, forwards: tuple[Forward, ...]) -> None:
        """Raises: Refusal, and all is as it was."""
        places = {forward[:3] for forward in forwards}
        if len(places) < len(forwards):
            raise Refusal("Conflict", "one port cannot lead to two targets")
        before = self._forwards.get(owner, ())
        new = [forward for forward in forwards if not self._is_open(owner, forward)]
        stay = {forward[:3] for forward in forwards} - {forward[:3] for forward in new}
        withdrawn = [forward for forward in before if forward[:3] not in stay]
        # What goes may be in the way of what comes: `::` and `::1` cannot have one port both.
        numbers = {(protocol, port) for protocol, _, port, _, _ in new}
        moved = [one for one in withdrawn if (one[0], one[2]) in numbers]
        moved += self._covered(new, (one for one in before if one[:3] in stay))
        self._close(moved)
        missing = [forward for forward in forwards if not self._is_open(owner, forward)]
        try:
            self._open_all(owner, missing)
        except Refusal:
            kept = self.restore(owner, moved)
            lost = {forward[:3] for forward in moved} - {forward[:3] for forward in kept}
            self._keep(owner, tuple(forward for forward in before if forward[:3] not in lost))
            raise
        self._close(one for one in withdrawn if one not in moved)
        self._keep(owner, forwards)

    def restore(self, owner: str, forwards: Sequence[Forward]) -> tuple[Forward, ...]:
        """Those that can be had, of which the others may be somebody's by now."""
        found: set[Forward] = set()
        for forward in sorted(forwards, key=_is_proxied):
            with suppress(Refusal):
                self._listen(owner, forward)
                found.add(forward)
        kept = tuple(forward for forward in forwards if forward in found)
        self._keep(owner, kept)
        return kept

    def get(self, owner: str) -> tuple[Forward, ...]:
        return self._forwards.get(owner, ())

    def list(self) -> list[str]:
        return sorted(self._forwards)

    def _is_open(self, owner: str, forward: Forward) -> bool:
        holder, found = self._open.get(forward[:3], ("", None))
        return found is not None and holder == owner and isinstance(found, socket.socket) != _is_proxied(forward)

    def _covered(self, new: Iterable[Forward], staying: Iterable[Forward]) -> Sequence[Forward]:
        """What listens already at one address can have no hold of all of them beside it: first that, then the other."""
        holds = {one[:3] for one in new if not _is_proxied(one)}
        return [one for one in staying if _is_proxied(one) and (one[0], _ALL6, one[2]) in holds] if holds else []

    def _open_all(self, owner: str, forwards: Iterable[Forward]) -> None:
        """Raises: Refusal, and none of them is open."""
        opened: list[Forward] = []
        try:
            for forward in sorted(forwards, key=_is_proxied):
                self._listen(owner, forward)
                opened.append(forward)
        except Refusal:
            self._close(opened)
            raise

    def _keep(self, owner: str, forwards: tuple[Forward, ...]) -> None:
        if forwards:
            self._forwards[owner] = forwards
        else:
            self._forwards.pop(owner, None)
        for protocol, address, port, target, target_port in forwards:
            found = self._open[protocol, address, port][1]
            if not isinstance(found, socket.socket):
                found.lead_to(target, target_port)

    def _listen(self, owner: str, forward: Forward) -> None:
        place = protocol, address, port = forward[:3]
        taken = self._open.get(place)
        if taken is not None:
            raise Refusal("Conflict", f"port {port}/{protocol} at {address} is taken: object {taken[0]} has it")
        if not self._descriptors.take(1, first=True):
            raise Refusal("ResourceExhausted", "the resolver has no descriptors left for another port")
        try:
            if _is_proxied(forward):
                with self._letting(protocol, port, owner) as beside:
                    self._open[place] = owner, self._proxy(place, beside=beside)
            else:
                self._open[place] = owner, held(_KINDS[protocol], address, port)
        except OSError as error:
            self._descriptors.give_back(1)
            raise self._reason(error, owner, place) from None

    def _proxy(self, place: Place, *, beside: bool) -> TcpProxy | UdpProxy:
        protocol, address, port = place
        if protocol == "tcp":
            return TcpProxy(self._loop, self._descriptors, address, port)
        return UdpProxy(self._loop, self._descriptors, address, port, beside=beside)

    @contextmanager
    def _letting(self, protocol: str, port: int, owner: str) -> Iterator[bool]:
        """The hold of all addresses, where the owner has it, does not keep its own proxy from one of them."""
        holder, found = self._open.get((protocol, _ALL6, port), ("", None))
        if holder != owner or not isinstance(found, socket.socket):
            yield False
            return
        share(found, True)
        try:
            yield True
        finally:
            share(found, False)

    def _reason(self, error: OSError, owner: str, place: Place) -> Refusal:
        protocol, address, port = place
        what = f"port {port}/{protocol} at {address}"
        if error.errno == errno.EADDRINUSE:
            owners = {other for one, (other, _) in self._open.items() if _meet(one, place)} - {owner}
            holder = f"object {owners.pop()} has it" if owners else "a process on the host has it"
            return Refusal("Conflict", f"{what} is taken: {holder}")
        if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            return Refusal("FailedPrecondition", f"{what} cannot be published: the host has no such address")
        return Refusal("Unavailable", f"{what} cannot be published: {os.strerror(error.errno or errno.EIO)}")

    def _close(self, forwards: Iterable[Forward]) -> None:
        for forward in forwards:
            found = self._open.pop(forward[:3], None)
            if found is not None:
                found[1].close()
                self._descriptors.give_back(1)


def _meet(one: Place, other: Place) -> bool:
    (protocol, first, port), (other_protocol, second, other_port) = one, other
    if (protocol, port) != (other_protocol, other_port) or (":" in first) != (":" in second):
        return False
    return first == second or not {first, second}.isdisjoint(("0.0.0.0", _ALL6))


def _is_proxied(forward: Forward) -> bool:
    return bool(forward[3])
