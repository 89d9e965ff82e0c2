"""statfs(2): which kind of file system a descriptor is on."""

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_KERNEL = frozenset(
    {
        0x00009FA0,  # proc
        0x62656572,  # sysfs
        0x0027E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x00001CD1,  # devpts
        0x19800202,  # mqueue
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x73636673,  # securityfs
        0xF97CFF8C,  # selinux
        0xCAFE4A11,  # bpf
        0x62656570,  # configfs
        0x42494E4D,  # binfmt_misc
        0x6E736673,  # nsfs
    }
)


_MEMORY = frozenset({0x01021994, 0x858458F6})  # tmpfs, ramfs


def is_kernel_file_system(fd: int) -> bool:
    """Whether what is there is no data but an interface of the kernel. Works for O_PATH descriptors too."""
    return _type(fd) in _KERNEL


def is_in_memory(path: Path) -> bool:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _type(fd) in _MEMORY
    finally:
        os.close(fd)


def _type(fd: int) -> int:
    buffer = (ctypes.c_long * 64)()
    if _libc.fstatfs(ctypes.c_int(fd), ctypes.byref(buffer)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer[0] & 0xFFFFFFFF
