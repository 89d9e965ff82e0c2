"""Words of the kernel that manifests use: signals, capabilities, limits, sysctls a container has for itself."""

import re

SIGNALS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
    "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19,
    "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28,
    "IO": 29, "PWR": 30, "SYS": 31, "RTMIN": 34, "RTMAX": 64,
}  # fmt: skip
_SIGNAL = re.compile(r"(?:SIG)?(?:([A-Z]+[12]?)|(RTMIN\+|RTMAX-)([0-9]{1,2}))|([0-9]{1,2})")

CAPABILITIES = frozenset((
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
    "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
    "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST",
    "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT",
    "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG",
    "WAKE_ALARM",
))  # fmt: skip
ULIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
_SYSCTL = re.compile(r"[a-z0-9_]+(\.[a-zA-Z0-9_-]+)+")
_SYSCTL_VALUE = re.compile(r"[0-9 \t-]{1,128}")
KERNEL_TREES = ("/proc", "/sys", "/dev")


def signal_number(word: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Raises: ValueError."""
    match = _SIGNAL.fullmatch(word)
    number = 0
    if match is not None:
        name, base, offset, digits = match.groups()
        if base:
            number = 34 + int(offset) if base == "RTMIN+" else 64 - int(offset)
            number = number if 34 <= number <= 64 else 0
        else:
            number = int(digits) if digits else SIGNALS.get(name, 0)
    if not 1 <= number <= 64:
        raise ValueError("is not a signal such as SIGTERM, TERM or 15")
    return number


def check_signal(word: str) -> str:
    signal_number(word)
    return word


def check_capability(word: str) -> str:
    folded = word.upper().removeprefix("CAP_")
    if folded != "ALL" and folded not in CAPABILITIES:
        raise ValueError("is not a capability such as NET_ADMIN, or ALL")
    return word


def check_ulimit(word: str) -> str:
    if word.lower() not in ULIMITS:
        raise ValueError(f"is not a limit; there are {', '.join(ULIMITS)}")
    return word


def check_sysctl(name: str, value: str) -> None:
    """Raises: ValueError for one that is the host's, or does not look like one."""
    own = name.startswith(("net.", "fs.mqueue.")) or name in SYSCTLS
    if _SYSCTL.fullmatch(name) is None or not own:
        raise ValueError("is not a sysctl a container has for itself (net.*, fs.mqueue.*, kernel.msg*, sem, shm*)")
    if _SYSCTL_VALUE.fullmatch(value) is None:
        raise ValueError("a value is digits, spaces and '-'")


def in_kernel_tree(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in KERNEL_TREES)
