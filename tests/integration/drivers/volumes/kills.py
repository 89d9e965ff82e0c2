"""Kill a process at every step that changes something, as kill -9 and a power cut would."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from drivers.kernel import mount as mounting
from drivers.volumes import fill as filling

_CHANGES = {
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.link"),
    *("os.symlink", "os.utime", "os.setxattr", "subprocess.Popen"),
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def at_every_step(before: Callable[[], None], work: Callable[[], None], after: Callable[[], None]) -> int:
    """Run `before` here, `work` in a process that dies at its first, second, … step, and `after` here each time.

    The last time it lives to its end. Return how many times it died.
    """
    for step in range(1, 1000):
        before()
        pid = os.fork()
        if pid == 0:
            _run(work, step)
        status = os.waitpid(pid, 0)[1]
        after()
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work failed by itself"
            return step - 1
    raise AssertionError("it has no end")


def _run(work: Callable[[], None], step: int) -> None:
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
            count()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            count()
            return call(*arguments, **keywords)

        return wrapped

    try:
        # Calls through ctypes are not audited.
        mounting._mount = counted(mounting._mount)
        mounting._libc_syscall = counted(mounting._libc_syscall)
        filling.rename_new = counted(filling.rename_new)
        sys.addaudithook(hook)
        work()
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
        os._exit(1)
