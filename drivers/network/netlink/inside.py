"""Netlink in the namespace of a sandbox."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from drivers.kernel.namespaces import Namespace, run_in
from drivers.network.netlink.messages import Netlink
from resources.errors import OUT_OF_DESCRIPTORS, FailedPrecondition

T = TypeVar("T")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Raises: FailedPrecondition when it is not there."""
    try:
        netns = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in OUT_OF_DESCRIPTORS:
            raise
        raise _missing(path, error) from error
    try:
        yield netns
    finally:
        os.close(netns)


def run_inside(path: Path, netns: int, work: Callable[[Netlink], T]) -> T:
    """Enter it once, with a socket there. Raises: FailedPrecondition when it is no namespace."""

    def there() -> T:
        with Netlink() as kernel:
            return work(kernel)

    try:
        return run_in(netns, Namespace.NETWORK, there)
    except OSError as error:
        if error.errno in OUT_OF_DESCRIPTORS:
            raise
        raise _missing(path, error) from error


def _missing(path: Path, error: OSError) -> FailedPrecondition:
    return FailedPrecondition(f"there is no network namespace {path}: {error.strerror}")
