"""Limits and counters of a cgroup: v1 and v2 files in and out of the same base units."""

import os
from pathlib import Path

from drivers.kernel.cgroup import Cgroup, Mode, keyed, read
from drivers.runtime.interface import Limits
from resources.errors import FailedPrecondition, Unsupported

_PERIOD = 100_000
_V1_UNLIMITED = 1 << 62
_PAGE = os.sysconf("SC_PAGE_SIZE")
_DEFAULT_SHARES = 1024
_DEFAULT_IO_WEIGHT = 100


def read_limits(group: Cgroup) -> Limits | None:
    """What the kernel holds; None when the group is gone. Unlimited is None.

    `cpu_shares`, `cpuset` and `io_weight` always have a value in the kernel, so they are never None where the
    controller is there.
    """
    if not group.exists():
        return None
    return _read_v2(group) if group.hierarchies.mode is Mode.V2 else _read_v1(group)


def write_limits(group: Cgroup, limits: Limits) -> None:
    """Make the kernel hold `limits`; None is the kernel's default. Lower before raise where it wants an order.

    Raises: FailedPrecondition or Unsupported naming the limit.
    """
    if group.hierarchies.mode is Mode.V2:
        _write_v2(group, limits)
    else:
        _write_v1(group, limits)


def as_asked(asked: Limits, actual: Limits) -> Limits:
    """`actual`, with each value that is what the kernel makes of the asked one replaced by the asked one.

    Memory is rounded to pages and shares are squeezed into weights: neither is a difference.
    """

    def same(a: int | None, b: int | None, form: int) -> int | None:
        return a if a is not None and b is not None and a // form == b // form else b

    shares = actual.cpu_shares
    if asked.cpu_shares and shares and shares_to_weight(asked.cpu_shares) == shares_to_weight(shares):
        shares = asked.cpu_shares
    swap = actual.swap
    if asked.swap is not None and swap is not None and abs(asked.swap - swap) < 2 * _PAGE:
        swap = asked.swap
    return Limits(
        memory=same(asked.memory, actual.memory, _PAGE),
        memory_reservation=same(asked.memory_reservation, actual.memory_reservation, _PAGE),
        swap=swap,
        cpu_millis=actual.cpu_millis,
        cpu_shares=shares,
        cpuset=asked.cpuset if _cpus(asked.cpuset) == _cpus(actual.cpuset) else actual.cpuset,
        pids=actual.pids,
        io_weight=actual.io_weight,
    )


def check_supported(group: Cgroup, limits: Limits) -> None:
    """Raises: Unsupported for a limit this host has no controller for."""
    v2 = group.hierarchies.mode is Mode.V2
    wanted = (
        ("memory", "memory", limits.memory),
        ("memory", "memoryReservation", limits.memory_reservation),
        ("cpu", "cpus", limits.cpu_millis),
        ("cpu", "cpuShares", limits.cpu_shares),
        ("cpuset", "cpuset", limits.cpuset),
        ("pids", "pids", limits.pids),
        ("io" if v2 else "blkio", "ioWeight", limits.io_weight),
    )
    for controller, name, value in wanted:
        root = group.hierarchies.controllers.get(controller)
        if value is not None and root is None:
            raise Unsupported(
                f"limit {name} cannot be set: this host has no cgroup controller {controller}",
                hint="remove the limit, or boot a kernel with the controller enabled",
            )
        if name == "ioWeight" and value is not None and not v2 and not _weight_file(root):
            raise Unsupported(
                "limit ioWeight cannot be set: no I/O scheduler of this host has weights",
                hint="remove the limit, or use the bfq scheduler",
            )


def shares_to_weight(shares: int) -> int:
    return 1 + ((max(2, min(shares, 262_144)) - 2) * 9999) // 262_142


def weight_to_shares(weight: int) -> int:
    """The fewest shares that make this weight: rounded up, so that they make it again."""
    return 2 - (-(weight - 1) * 262_142) // 9999


def _weight_file(directory: Path | None) -> str | None:
    if directory is None:
        return None
    # The root group has no weight of its own: what its bfq counts tells that the groups below have.
    for file, sign in (("blkio.bfq.weight", "blkio.bfq.io_service_bytes"), ("blkio.weight", "blkio.weight_device")):
        if os.path.exists(f"{directory}/{file}") or os.path.exists(f"{directory}/{sign}"):
            return file
    return None


def _cpus(text: str | None) -> frozenset[int]:
    found: set[int] = set()
    for part in (text or "").strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), min(int(last or first), int(first) + 8192) + 1))
    return frozenset(found)


def _number(text: str, unlimited: int | None = None) -> int | None:
    value = text.strip()
    if not value.isdigit() or (unlimited is not None and int(value) >= unlimited):
        return None
    return int(value)


def _read_v1(group: Cgroup) -> Limits:
    limit = _number(group.read("memory", "memory.limit_in_bytes"), _V1_UNLIMITED)
    both = _number(group.read("memory", "memory.memsw.limit_in_bytes"), _V1_UNLIMITED)
    quota = _number(group.read("cpu", "cpu.cfs_quota_us"))  # -1 is no number: unlimited
    period = _number(group.read("cpu", "cpu.cfs_period_us")) or _PERIOD
    weight = _weight_file(group.directory("blkio"))
    return Limits(
        memory=limit,
        memory_reservation=_number(group.read("memory", "memory.soft_limit_in_bytes"), _V1_UNLIMITED),
        swap=None if both is None or limit is None else max(0, both - limit),
        cpu_millis=None if quota is None else quota * 1000 // period,
        cpu_shares=_number(group.read("cpu", "cpu.shares")),
        cpuset=group.read("cpuset", "cpuset.cpus").strip() or None,
        pids=_number(group.read("pids", "pids.max")),
        io_weight=_number(group.read("blkio", weight)) if weight else None,
    )


def _read_v2(group: Cgroup) -> Limits:
    at = group.unified
    quota, _, period = read(at, "cpu.max").strip().partition(" ")
    weight = _number(read(at, "cpu.weight"))
    io = read(at, "io.weight") or read(at, "io.bfq.weight")
    return Limits(
        memory=_number(read(at, "memory.max")),
        memory_reservation=_number(read(at, "memory.low")) or None,
        swap=_number(read(at, "memory.swap.max")),
        cpu_millis=int(quota) * 1000 // int(period) if quota.isdigit() and period.isdigit() else None,
        cpu_shares=None if weight is None else weight_to_shares(weight),
        cpuset=(read(at, "cpuset.cpus") or read(at, "cpuset.cpus.effective")).strip() or None,
        pids=_number(read(at, "pids.max")),
        io_weight=_number(io.removeprefix("default ").split("\n")[0]),
    )


def _write_v1(group: Cgroup, limits: Limits) -> None:
    now = _read_v1(group)
    if (limits.memory, limits.swap) != (now.memory, now.swap):
        _write_memory_v1(group.directory("memory"), limits)
    files: list[tuple[str, str, str, str]] = []
    soft = -1 if limits.memory_reservation is None else limits.memory_reservation
    if limits.memory_reservation != now.memory_reservation:
        files.append(("memory", "memory.soft_limit_in_bytes", str(soft), "memoryReservation"))
    if limits.cpu_millis != now.cpu_millis:
        quota = -1 if limits.cpu_millis is None else limits.cpu_millis * _PERIOD // 1000
        if limits.cpu_millis is not None:
            files.append(("cpu", "cpu.cfs_period_us", str(_PERIOD), "cpus"))
        files.append(("cpu", "cpu.cfs_quota_us", str(quota), "cpus"))
    if (limits.cpu_shares or _DEFAULT_SHARES) != now.cpu_shares:
        files.append(("cpu", "cpu.shares", str(limits.cpu_shares or _DEFAULT_SHARES), "cpuShares"))
    if limits.pids != now.pids:
        files.append(("pids", "pids.max", "max" if limits.pids is None else str(limits.pids), "pids"))
    files += _cpuset(group, limits, now)
    weight = _weight_file(group.directory("blkio"))
    if weight and (limits.io_weight or _DEFAULT_IO_WEIGHT) != now.io_weight:
        files.append(("blkio", weight, str(limits.io_weight or _DEFAULT_IO_WEIGHT), "ioWeight"))
    check_supported(group, limits)
    _write_all(group, files)


def _cpuset(group: Cgroup, limits: Limits, now: Limits) -> list[tuple[str, str, str, str]]:
    directory = group.directory("cpuset")
    if directory is None:
        return []
    wanted = limits.cpuset or read(directory.parent, "cpuset.cpus").strip()
    return [("cpuset", "cpuset.cpus", wanted, "cpuset")] if wanted and _cpus(wanted) != _cpus(now.cpuset) else []


def _write_memory_v1(directory: Path | None, limits: Limits) -> None:
    """memory + swap may never be below memory: raise the sum first, lower it last."""
    if directory is None:
        raise Unsupported("limit memory cannot be set: this host has no cgroup controller memory")
    both = -1 if limits.memory is None or limits.swap is None else limits.memory + limits.swap
    steps = [("memory.limit_in_bytes", -1 if limits.memory is None else limits.memory, "memory")]
    if (directory / "memory.memsw.limit_in_bytes").exists():
        old = int(read(directory, "memory.memsw.limit_in_bytes"))
        steps.insert(0 if both == -1 or both > old else 1, ("memory.memsw.limit_in_bytes", both, "swap"))
    for file, value, name in steps:
        _put(directory / file, str(value), name)


def _write_v2(group: Cgroup, limits: Limits) -> None:
    def text(value: int | None) -> str:
        return "max" if value is None else str(value)

    check_supported(group, limits)
    now = _read_v2(group)
    quota = "max" if limits.cpu_millis is None else str(limits.cpu_millis * _PERIOD // 1000)
    candidates = [
        ("memory", "memory.max", text(limits.memory), "memory", limits.memory != now.memory),
        ("memory", "memory.low", str(limits.memory_reservation or 0), "memoryReservation", True),
        ("memory", "memory.swap.max", text(limits.swap), "swap", limits.swap != now.swap),
        ("cpu", "cpu.max", f"{quota} {_PERIOD}", "cpus", limits.cpu_millis != now.cpu_millis),
        ("cpu", "cpu.weight", str(shares_to_weight(limits.cpu_shares or _DEFAULT_SHARES)), "cpuShares", True),
        ("pids", "pids.max", text(limits.pids), "pids", limits.pids != now.pids),
        ("cpuset", "cpuset.cpus", limits.cpuset or "\n", "cpuset", limits.cpuset != now.cpuset),
        (
            "io",
            _io_file(group),
            str(limits.io_weight or _DEFAULT_IO_WEIGHT),
            "ioWeight",
            limits.io_weight != now.io_weight,
        ),
    ]
    _write_all(group, [(c, file, value, name) for c, file, value, name, changed in candidates if changed])


def _io_file(group: Cgroup) -> str:
    return "io.weight" if read(group.unified, "io.weight") else "io.bfq.weight"


def _write_all(group: Cgroup, files: list[tuple[str, str, str, str]]) -> None:
    for controller, file, value, name in files:
        directory = group.directory(controller)
        if directory is not None and (directory / file).exists():
            _put(directory / file, value, name)


def _put(file: Path, value: str, name: str) -> None:
    try:
        file.write_text(value)
    except OSError as error:
        raise FailedPrecondition(
            f"the kernel refuses {value.strip() or 'none'} for limit {name}: {error.strerror}",
            hint="for memory: more is in use than that" if file.name.startswith("memory.") else "",
        ) from error


def counters(group: Cgroup) -> dict[str, int]:
    """Counters of now, in bytes, nanoseconds and numbers; empty when the group is gone."""
    if not group.exists():
        return {}
    found = _counters_v2(group) if group.hierarchies.mode is Mode.V2 else _counters_v1(group)
    found["pids"] = _number(read(group.directory("pids"), "pids.current"))
    return {name: value for name, value in found.items() if value is not None}


def _counters_v1(group: Cgroup) -> dict[str, int | None]:
    memory = group.directory("memory")
    stat, cpu = keyed(read(memory, "memory.stat")), keyed(read(group.directory("cpu"), "cpu.stat"))
    block = read(group.directory("blkio"), "blkio.throttle.io_service_bytes_recursive")
    block = block or read(group.directory("blkio"), "blkio.throttle.io_service_bytes")
    return {
        "memory": _number(read(memory, "memory.usage_in_bytes")),
        "memory_limit": _number(read(memory, "memory.limit_in_bytes"), _V1_UNLIMITED),
        "memory_cache": stat.get("total_inactive_file"),
        "cpu_nanos": _number(read(group.directory("cpuacct"), "cpuacct.usage")),
        "throttled_nanos": cpu.get("throttled_time"),
        "io_read": sum(int(p[2]) for line in block.splitlines() if (p := line.split())[1:2] == ["Read"]),
        "io_write": sum(int(p[2]) for line in block.splitlines() if (p := line.split())[1:2] == ["Write"]),
    }


def _counters_v2(group: Cgroup) -> dict[str, int | None]:
    at = group.unified
    stat, cpu = keyed(read(at, "memory.stat")), keyed(read(at, "cpu.stat"))
    io = [word.partition("=") for word in read(at, "io.stat").split()]
    return {
        "memory": _number(read(at, "memory.current")),
        "memory_limit": _number(read(at, "memory.max")),
        "memory_cache": stat.get("inactive_file"),
        "cpu_nanos": cpu.get("usage_usec", 0) * 1000,
        "throttled_nanos": cpu.get("throttled_usec", 0) * 1000,
        "io_read": sum(int(value) for key, _, value in io if key == "rbytes"),
        "io_write": sum(int(value) for key, _, value in io if key == "wbytes"),
    }
