"""From facts to findings: what is so, why it matters, how to mend it. Pure."""

import re
from collections.abc import Callable, Iterator

from drivers.host.interface import Facts, Finding, Level

_OK, _WARNING, _MISSING = Level.OK, Level.WARNING, Level.MISSING
GROUP = "lading"
_GIB = 1 << 30
_NEEDED_NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
_CONTROLLERS = {
    "v1": ("cpu", "cpuset", "memory", "pids", "devices", "freezer", "blkio"),
    "v2": ("cpu", "cpuset", "memory", "pids", "io"),
}
_SELDOM_NEEDED = ("cpuset", "blkio", "io")
_CALLS = ((5, 9), "pidfds, openat2 and the clone and mount calls the engine is written for")


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Every check, in an order in which one would mend them."""
    return tuple(finding for check in _CHECKS for finding in check(facts))


def kernel_version(release: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _user(facts: Facts) -> Iterator[Finding]:
    if not facts.root_user:
        why = "the engine makes namespaces, mounts and control groups; what only root may look at was not checked"
        yield Finding("user", _MISSING, "not root", why, "run it as root: sudo lading doctor")


def _kernel(facts: Facts) -> Iterator[Finding]:
    number, what = kernel_version(facts.kernel), f"Linux {facts.kernel} on {facts.architecture}"
    if number < _CALLS[0]:
        yield Finding("kernel", _MISSING, what, f"older than 5.9: it has not {_CALLS[1]}", "boot a newer kernel")
        return
    if number < (6, 15):
        why = "before 6.15 the exit code of a container whose supervisor was killed cannot be learnt: it is `unknown`"
        yield Finding("kernel", _OK, what, why)
        return
    yield Finding("kernel", _OK, what)


def _cgroup(facts: Facts) -> Iterator[Finding]:
    group = facts.cgroup
    if not group.mode:
        why = "limits, pausing and a clean end of every process of a container need them"
        yield Finding("cgroup", _MISSING, "no control groups are mounted", why, "mount -t cgroup2 none /sys/fs/cgroup")
        return
    wanted = _CONTROLLERS["v2" if group.mode == "v2" else "v1"]
    absent = [name for name in wanted if name not in group.controllers]
    if not absent:
        yield Finding("cgroup", _OK, f"control groups {group.mode}, with {' '.join(wanted)}")
    else:
        level = _WARNING if all(name in _SELDOM_NEEDED for name in absent) else _MISSING
        yield Finding(
            "cgroup",
            level,
            f"control groups {group.mode}, without {' '.join(absent)}",
            "a limit that needs one of these is refused",
            "enable the controllers on the kernel's command line (cgroup_enable=…), or mount them",
        )
    if group.mode == "hybrid" and group.unmounted and facts.runtime.name != "crun":
        mounting = "mkdir /sys/fs/cgroup/{0}; mount -t cgroup -o {0} cgroup /sys/fs/cgroup/{0}"
        yield Finding(
            "cgroup-hybrid",
            _WARNING,
            f"the kernel's v1 controllers {' '.join(group.unmounted)} are not mounted",
            "crun refuses a hybrid host without them, so containers start with runc, three times slower",
            "; ".join(mounting.format(name) for name in group.unmounted),
        )


def _runtime(facts: Facts) -> Iterator[Finding]:
    runtime = facts.runtime
    if not runtime.name:
        absent = [name for name in ("crun", "runc") if facts.tools[name].path is None]
        yield Finding(
            "runtime",
            _MISSING,
            f"no OCI runtime works here: {runtime.reason}",
            "it makes the container from its configuration",
            "install crun" if absent else "see what each said, and mend that",
            absent[0] if absent else "",
        )
        return
    why = "" if runtime.reason == "preferred" else f"the one preferred was tried: {runtime.reason}"
    yield Finding("runtime", _OK, f"containers run with {runtime.name} {runtime.version}", why)
    for hole in runtime.holes:
        yield Finding(
            "runtime-holes",
            _WARNING,
            f"{runtime.name} {runtime.version}: {hole}",
            "a known hole of this version",
            f"a newer {runtime.name}, in /usr/local/bin, is taken first",
        )


def _tools(facts: Facts) -> Iterator[Finding]:
    for name, (level, package, why) in _TOOLS.items():
        tool = facts.tools[name]
        if tool.path is not None:
            yield Finding(name, _OK, f"{tool.path} {tool.version}".rstrip())
        elif name != "crun" or facts.runtime.name:  # with no runtime at all that is said already
            yield Finding(name, level, f"{name} is not installed", why, f"install {package}", package)


_TOOLS = {
    "crun": (_WARNING, "crun", "it starts a container in a third of the time runc takes"),
    "conmon": (_MISSING, "conmon", "it stays with each container when the engine is gone: log, terminal, exit code"),
    "nft": (_WARNING, "nftables", "for you, to look at the rules the engine made; the engine itself does not need it"),
    "ip": (_WARNING, "iproute2", "for you, to look at what the engine made; the engine itself does not need it"),
    "tini-static": (_WARNING, "tini", "containers with `init: true` need it"),
}


def _networks(facts: Facts) -> Iterator[Finding]:
    for name, (check, why, fix) in _OF_NETWORKS.items():
        if name in facts.network_errors:
            yield Finding(check, _WARNING, facts.network_errors[name], why, fix)
    for obstacle in facts.obstacles:
        what, _, fix = obstacle.rpartition(": ")
        why = "our own rules let pass what is to pass, and cannot undo what the firewall of another does"
        yield Finding("firewall", _WARNING, what, why, fix)
    if facts.root_user and not facts.network_errors:
        what = "bridges, veth links, nftables, connection tracking and forwarding work here"
        yield Finding("networks", _OK, what, "" if kernel_version(facts.kernel) >= _HELD_TABLES else _NOT_HELD)


_HELD_TABLES = (6, 9)
_NOT_HELD = (
    "before 6.9 the engine cannot hold its table of the firewall: after `nft flush ruleset` of another program published ports "
    "are lost and all ports open to whoever has a route, until the engine has mended it, and while none runs nothing does"
)
_REFUSED = "a container on any network but `host` and `none` does not start without it"
_OF_NETWORKS = {
    "links": ("links", _REFUSED, "load the modules bridge and veth; boot a kernel that has them"),
    "firewall": ("nftables", _REFUSED, "load the modules nf_tables, nft_fib_inet, nft_nat, nft_masq and nft_ct"),
    "conntrack": (
        "conntrack",
        "connections to a port that is withdrawn, or of an address that is given away, would go on",
        "load the module nf_conntrack_netlink",
    ),
    "forwarding": (
        "forwarding",
        "packets of containers do not leave the host, and none come in",
        "mount /proc/sys writable, or sysctl -w net.ipv4.ip_forward=1",
    ),
}


def _isolation(facts: Facts) -> Iterator[Finding]:
    absent = [name for name in _NEEDED_NAMESPACES if name not in facts.namespaces]
    if absent:
        why = "a container is made of them"
        yield Finding("namespaces", _MISSING, f"no {' '.join(absent)} namespaces", why, "boot a kernel that has them")
    else:
        yield Finding("namespaces", _OK, f"namespaces {' '.join(sorted(facts.namespaces))}")
    if facts.user_namespaces == 0:
        why = "`userNamespace: auto` is refused"
        fix = "sysctl -w user.max_user_namespaces=15000"
        yield Finding("user-namespaces", _WARNING, "user namespaces are switched off", why, fix)
    if facts.seccomp:
        yield Finding("seccomp", _OK, "system calls of containers are filtered")
    else:
        why = "the default profile cannot be loaded, and a container is never started without it"
        yield Finding("seccomp", _MISSING, "this kernel filters no system calls", why, "boot a kernel with seccomp")
    what = "AppArmor is on" if facts.apparmor else "no AppArmor on this kernel"
    why = "" if facts.apparmor else "a manifest that names a profile is refused; all other guards hold"
    yield Finding("apparmor", _OK, what, why)


def _storage(facts: Facts) -> Iterator[Finding]:
    space = facts.space
    if facts.overlay_error:
        why = "images are stacked with it"
        fix = f"put the state root ({space.path}) on ext4, xfs or btrfs; load the module overlay"
        yield Finding("overlay", _MISSING, facts.overlay_error, why, fix)
    elif facts.root_user:
        how = "layer by layer (500 layers)" if facts.overlay_by_layer else "in one page of options (some 200 layers)"
        yield Finding("overlay", _OK, f"overlays can be mounted on {space.path}, {how}")
    yield _room(space.path, space.free, space.total)
    if space.inodes_total:
        share = space.inodes_free / space.inodes_total
        level = _WARNING if share < 0.05 or space.inodes_free < 100_000 else _OK
        what = f"{space.inodes_free} of {space.inodes_total} inodes are free on {space.path}"
        why = "a file of an image takes one each" if level is not _OK else ""
        yield Finding("inodes", level, what, why, "remove files, or put the state root elsewhere" if why else "")


def _room(path: str, free: int, total: int) -> Finding:
    what = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB are free on {path}"
    if free >= 2 * _GIB and free >= total // 20:
        return Finding("disk", _OK, what)
    level = _MISSING if free < _GIB // 4 else _WARNING
    return Finding("disk", level, what, "images, logs and writable layers are kept there", "make room, or --root DIR")


def _limits(facts: Facts) -> Iterator[Finding]:
    what = f"{facts.open_files} open files at most"
    if facts.open_files >= 8192:
        yield Finding("open-files", _OK, what)
    else:
        why = "the engine holds a few for each container, and no container gets more than that"
        yield Finding("open-files", _WARNING, what, why, "raise the hard limit: ulimit -Hn, LimitNOFILE= of the unit")


def _places(facts: Facts) -> Iterator[Finding]:
    if facts.run_file_system == "tmpfs":
        yield Finding("run-root", _OK, "the run root is in memory")
    else:
        yield Finding(
            "run-root",
            _OK,
            f"the run root is on {facts.run_file_system}: the engine mounts a tmpfs of its own there",
            "a secret used as an environment variable stands there while its container exists, and so reaches no disk; "
            "the folder has to be empty",
        )
    if facts.clock_behind > 86400:
        what = f"the clock is {facts.clock_behind / 86400:.0f} days behind the newest file of this program"
        yield Finding("clock", _WARNING, what, "certificates and tokens are checked by it", "set it, or install chrony")
    else:
        yield Finding("clock", _OK, "the clock is not behind")
    if facts.group is None:
        why = "without it only root may use the engine's socket"
        yield Finding("group", _WARNING, f"no group {GROUP}", why, f"groupadd --system {GROUP}")
    else:
        members = facts.group or "nobody besides root"
        yield Finding("group", _OK, f"group {GROUP}: {members}", "its members can do whatever root can")


_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _user,
    _kernel,
    _cgroup,
    _runtime,
    _tools,
    _networks,
    _isolation,
    _storage,
    _limits,
    _places,
)
