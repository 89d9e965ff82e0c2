"""The parts of config.json that only the driver knows: root, cgroup, limits, and the errno of the runtime's seccomp."""

import resource
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drivers.runtime.interface import Limits, ProcessConfig, TaskConfig
from drivers.runtime.seccomp import with_unknown_calls_absent

_PERIOD = 100_000
_CAP_SYS_RESOURCE = 24


def complete(config: TaskConfig, cgroup: str, runtime: str) -> dict[str, Any]:
    """A config.json for `runtime`; the caller's own is not changed."""
    linux = dict(config.spec.get("linux") or {})
    linux["cgroupsPath"] = cgroup
    linux["resources"] = {**(linux.get("resources") or {}), **_resources(config.limits)}
    if runtime == "crun" and linux.get("seccomp"):
        # runc answers calls newer than the profile with ENOSYS by itself; crun has to be told.
        linux["seccomp"] = with_unknown_calls_absent(linux["seccomp"])
    spec = {key: value for key, value in config.spec.items() if key != "annotations"}
    process = {**(config.spec.get("process") or {}), "terminal": config.terminal}
    process["rlimits"] = [_within_host(limit) for limit in process.get("rlimits") or ()]
    root = {**(config.spec.get("root") or {}), "path": str(Path(config.rootfs).absolute())}
    return {**spec, "process": process, "root": root, "linux": linux}


def _within_host(limit: Mapping[str, Any]) -> dict[str, Any]:
    """A limit above the engine's own hard one cannot be set without CAP_SYS_RESOURCE: capped, never a failure."""
    number = getattr(resource, str(limit["type"]), None)
    if number is None or _may_raise():
        return dict(limit)
    hard = resource.getrlimit(number)[1]
    if hard == resource.RLIM_INFINITY:
        return dict(limit)
    return {**limit, "hard": min(limit["hard"], hard), "soft": min(limit["soft"], hard)}


def _may_raise() -> bool:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & 1 << _CAP_SYS_RESOURCE)
    return False


def _resources(limits: Limits) -> Mapping[str, Any]:
    memory: dict[str, int] = {}
    if limits.memory is not None:
        memory["limit"] = limits.memory
        if limits.swap is not None:
            memory["swap"] = limits.memory + limits.swap  # the spec's swap is the sum
    if limits.memory_reservation is not None:
        memory["reservation"] = limits.memory_reservation
    cpu: dict[str, Any] = {}
    if limits.cpu_millis is not None:
        cpu |= {"quota": limits.cpu_millis * _PERIOD // 1000, "period": _PERIOD}
    if limits.cpu_shares is not None:
        cpu["shares"] = limits.cpu_shares
    if limits.cpuset is not None:
        cpu["cpus"] = limits.cpuset
    found: dict[str, Any] = {"memory": memory, "cpu": cpu}
    if limits.pids is not None:
        found["pids"] = {"limit": limits.pids}
    if limits.io_weight is not None:
        found["blockIO"] = {"weight": limits.io_weight}
    return {key: value for key, value in found.items() if value}


def _over(base: Iterable[str], changes: Iterable[str]) -> list[str]:
    found = {pair.partition("=")[0]: pair for pair in base}
    found |= {pair.partition("=")[0]: pair for pair in changes}
    return list(found.values())


def exec_process(base: Mapping[str, Any], process: ProcessConfig) -> dict[str, Any]:
    """`process` of an exec: limits, labels and filters of the task's own, the rest as asked."""
    caps = list(process.capabilities)
    # A user other than root starts with nothing, as the task itself does, and may gain no more than the bounding set.
    effective = caps if process.uid == 0 else []
    found = {key: base[key] for key in ("rlimits", "apparmorProfile", "selinuxLabel", "oomScoreAdj") if base.get(key)}
    found |= {
        "terminal": process.terminal,
        "user": {"uid": process.uid, "gid": process.gid, "additionalGids": list(process.groups)},
        "args": list(process.args),
        "env": _over(base.get("env") or (), process.env),
        "cwd": process.cwd or base.get("cwd") or "/",
        "noNewPrivileges": process.no_new_privileges,
        "capabilities": {
            "bounding": caps,
            "effective": effective,
            "permitted": effective,
            "inheritable": [],
            "ambient": [],
        },
    }
    if process.terminal and process.rows and process.columns:
        found["consoleSize"] = {"height": process.rows, "width": process.columns}
    return found
