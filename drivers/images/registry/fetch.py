"""Fetch one blob: from the first place that has it, on from where an earlier attempt ended, verified at the end."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from drivers.images.content import LayoutContentStore
from drivers.images.interface import Descriptor
from drivers.images.partial import Partial
from drivers.images.registry.attempts import Attempts
from drivers.images.registry.flights import Flights, Told
from drivers.images.registry.repository import Asking, Repository
from drivers.images.registry.stop import Stop
from drivers.images.registry.transport import Reply
from drivers.images.registry.trouble import Passing
from resources.errors import DataLoss

_WORTH_IT = 1 << 20
"""What an attempt must bring for the next to count as the first."""
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)


class Fetcher:
    """Shared by all pulls of an engine."""

    def __init__(self, content: LayoutContentStore, total: int) -> None:
        self._content = content
        self._flights = Flights()
        self._slots = threading.BoundedSemaphore(total)

    def fetch(self, blob: Descriptor, repository: Repository, source: tuple[object, ...], told: Told) -> None:
        """Raises: DataLoss, ResourceExhausted, NotFound, PermissionDenied, Unavailable, Cancelled."""
        stop = repository.stop

        def is_there() -> bool:
            found = self._content.info(blob.digest)
            if found is not None and found.size != blob.size:
                raise DataLoss(f"{blob.digest} has {found.size} bytes, not the {blob.size} that its manifest says")
            return found is not None

        def fetch(told: Told) -> None:
            with self._slot(stop), self._content.partial(blob, stop.check) as partial:
                _Fetch(blob, repository, partial, told).run()

        self._flights.run(blob.digest, source, stop, told, is_there, fetch)

    @contextmanager
    def _slot(self, stop: Stop) -> Iterator[None]:
        while not self._slots.acquire(timeout=0.2):
            stop.check()
        try:
            yield
        finally:
            self._slots.release()


class _Fetch:
    def __init__(self, blob: Descriptor, repository: Repository, partial: Partial, told: Told) -> None:
        self._blob = blob
        self._repository = repository
        self._partial = partial
        self._told = told
        self._stop = repository.stop

    def run(self) -> None:
        """What all places gave wrongly is DataLoss."""
        self._repository.anywhere(self._from)

    def _from(self, place: Asking, attempts: Attempts) -> None:
        partial = self._partial
        pieces = (partial.size > 0) + self._complete(place, attempts)
        if pieces > 1 and not partial.verified():
            # An earlier piece may be what is wrong with it: of another place, of a broken answer, of a power cut.
            partial.restart()
            self._complete(place, attempts)
        self._stop.check()
        partial.commit()
        self._told(self._blob.size)

    def _complete(self, place: Asking, attempts: Attempts) -> int:
        """Fetch what is missing; return from how many answers it came."""
        pieces = 0
        resume = True
        while self._partial.left:
            before = self._partial.size
            pieces += 1
            try:
                self._attempt(place, before if resume else 0)
            except _Unresumable:
                resume = False
            except Passing as error:
                resume = True
                if self._partial.size - before >= _WORTH_IT:
                    attempts.advanced()
                attempts.again(error)
        return pieces

    def _attempt(self, place: Asking, offset: int) -> None:
        """Raises: _Unresumable, Passing when it ends early, DataLoss when it goes on too long."""
        reply = self._repository.blob(place, self._blob, offset)
        try:
            self._check_start(place, reply, offset)
            self._copy(place, reply)
        finally:
            reply.close()

    def _check_start(self, place: Asking, reply: Reply, offset: int) -> None:
        size = self._blob.size
        if reply.status == 206:
            match = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != offset or match[3] not in ("*", str(size)):
                raise _Unresumable
        elif reply.status == 416:
            raise _Unresumable
        else:
            self._partial.restart()
        length = reply.headers.get("Content-Length")
        if reply.status == 200 and length is not None and length != str(size):
            raise self._wrong(f"{place.host} offers {length[:20]!r} bytes")

    def _copy(self, place: Asking, reply: Reply) -> None:
        partial = self._partial
        while data := reply.read():
            self._stop.check()
            if len(data) > partial.left:
                raise self._wrong(f"{place.host} sends more")
            partial.write(data)
            self._told(partial.size)
        if partial.left:
            raise Passing(f"{place.host} ended {partial.left} bytes before the end of {self._blob.digest}")

    def _wrong(self, what: str) -> DataLoss:
        self._partial.restart()
        return DataLoss(
            f"{what} for {self._blob.digest}, which has {self._blob.size}",
            hint="damaged or tampered with on the way, or at the registry",
        )


class _Unresumable(Exception):
    """The place does not go on where we asked it to: the next attempt begins anew."""
