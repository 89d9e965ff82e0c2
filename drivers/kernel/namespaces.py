"""Work inside another namespace, in a thread that enters it and ends there: no other thread ever sees it."""

import ctypes
import os
import threading
from collections.abc import Callable
from enum import IntFlag
from typing import TypeVar

_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class Namespace(IntFlag):
    MOUNT = 0x00020000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NETWORK = 0x40000000


_CLONE_FS = 0x00000200


def setns(fd: int, kind: Namespace) -> None:
    """Move the calling thread. Only for threads that end afterwards, or the only one of a process, which goes back."""
    _checked(_libc.setns(ctypes.c_int(fd), ctypes.c_int(int(kind))), "setns")


def unshare(kind: Namespace) -> None:
    """Give the calling thread namespaces of its own. Only for threads that end afterwards."""
    _checked(_libc.unshare(ctypes.c_int(int(kind))), "unshare")


def run_in(fd: int, kind: Namespace, work: Callable[[], T]) -> T:
    """Run `work` in the namespace of `fd` and return what it returns, or raise what it raises.

    Raises: OSError when the namespace cannot be entered.
    """

    def enter() -> None:
        if kind & Namespace.MOUNT:
            # A thread that shares root and working directory with others may not change its mount namespace.
            _checked(_libc.unshare(ctypes.c_int(_CLONE_FS)), "unshare")
        setns(fd, kind)

    return _in_thread(enter, work)


def run_in_new(kind: Namespace, work: Callable[[], T]) -> T:
    """Run `work` in new namespaces, which end with it unless it binds them to a file: `/proc/thread-self/ns/…`."""
    return _in_thread(lambda: unshare(kind), work)


def _in_thread(enter: Callable[[], None], work: Callable[[], T]) -> T:
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            enter()
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def _checked(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
