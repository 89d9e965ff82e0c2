"""An event loop on epoll: descriptors, timers, one thread. asyncio would double the size of the process."""

import heapq
import itertools
import os
import select
import time
from collections.abc import Callable

READ, WRITE, ERROR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR
_MANY = 256
_PENALTY = 0.2
"""How long a descriptor whose handler failed is not looked at: it might fail again at once, for ever."""

Handler = Callable[[int], None]


class Timer:
    __slots__ = ("_loop", "at", "call", "number")

    def __init__(self, loop: "Loop", at: float, number: int, call: Callable[[], None]) -> None:
        self._loop = loop
        self.at = at
        self.number = number
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        if self.call is not None:
            self.call = None
            self._loop.cancelled += 1

    def __lt__(self, other: "Timer") -> bool:
        return (self.at, self.number) < (other.at, other.number)


class Loop:
    def __init__(self, report: Callable[[Exception], None]) -> None:
        """`report` is told what a handler raised; the loop goes on."""
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._masks: dict[int, int] = {}
        self._fresh: set[int] = set()
        """Descriptors new since the last look: what it told of their numbers was of others."""
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._report = report
        self._running = True
        self.now = time.monotonic()
        self.cancelled = 0

    def watch(self, fd: int, mask: int, handler: Handler) -> None:
        """Also to change what is watched. Without a mask not even hang-ups are told, which epoll would tell for ever."""
        if not mask:
            self.forget(fd)
            return
        self._handlers[fd] = handler
        known = self._masks.get(fd)
        if known is None:
            self._epoll.register(fd, mask)
            self._fresh.add(fd)
        elif known != mask:
            self._epoll.modify(fd, mask)
        self._masks[fd] = mask

    def forget(self, fd: int) -> None:
        """Before it is closed."""
        if self._masks.pop(fd, None) is not None:
            del self._handlers[fd]
            self._epoll.unregister(fd)

    def later(self, delay: float, call: Callable[[], None]) -> Timer:
        if self.cancelled > max(_MANY, len(self._timers) // 2):
            # Nearly every timer is cancelled long before its time, and thousands are made each second.
            self._timers = [timer for timer in self._timers if timer.call is not None]
            heapq.heapify(self._timers)
            self.cancelled = 0
        timer = Timer(self, time.monotonic() + delay, next(self._numbers), call)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        while self._running:
            happened = self._epoll.poll(self._timeout(), 256)
            self._fresh.clear()
            for fd, events in happened:
                handler = self._handlers.get(fd)
                if handler is not None and fd not in self._fresh:
                    self._call(fd, handler, events)
            self._run_timers()

    def _timeout(self) -> float:
        while self._timers and self._timers[0].call is None:
            heapq.heappop(self._timers)
            self.cancelled -= 1
        return max(0.0, self._timers[0].at - time.monotonic()) if self._timers else -1

    def _call(self, fd: int, handler: Handler, events: int) -> None:
        self.now = time.monotonic()
        try:
            handler(events)
        except Exception as error:
            self._report(error)
            mask = self._masks.get(fd)
            if mask is not None and self._handlers[fd] == handler:
                self._punish(fd, mask, handler)

    def _punish(self, fd: int, mask: int, handler: Handler) -> None:
        self.forget(fd)
        inode = os.fstat(fd).st_ino

        def again() -> None:
            try:
                same = os.fstat(fd).st_ino == inode
            except OSError:
                return
            if same and fd not in self._masks:
                self.watch(fd, mask, handler)

        self.later(_PENALTY, again)

    def _run_timers(self) -> None:
        self.now = time.monotonic()
        while self._timers and self._timers[0].at <= self.now:
            timer = heapq.heappop(self._timers)
            call, timer.call = timer.call, None
            if call is None:
                self.cancelled -= 1
                continue
            try:
                call()
            except Exception as error:
                self._report(error)
