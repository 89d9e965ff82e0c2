"""Processes, their namespaces, descriptors, locks and control groups."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.leaks.model import Item, Process

OWNER_VARIABLE = "LADING_TEST_OWNER"
NAMESPACES = ("net", "mnt", "pid", "ipc", "uts", "user", "cgroup", "time")
Links = Mapping[int, tuple[str, ...]]


def read_processes() -> dict[int, Process]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                process = _read(entry)
            except OSError:
                continue  # it ended meanwhile
            if process is not None:
                found[process.pid] = process
    return found


def _read(folder: Path) -> Process | None:
    stat = (folder / "stat").read_text()
    # The name in parentheses may hold blanks and parentheses of its own.
    name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
    state, parent, session, start = rest[0], int(rest[1]), int(rest[3]), int(rest[19])
    if int(rest[6]) & 0x00200000:  # PF_KTHREAD
        return None
    command = (folder / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return Process(
        pid=int(folder.name),
        start=start,
        parent=parent,
        session=session,
        state=state,
        command=command or f"[{name}]",
        cgroups=(folder / "cgroup").read_text(),
        token=_token(folder),
        cwd=_link(folder / "cwd"),
    )


def _token(folder: Path) -> str:
    try:
        environment = (folder / "environ").read_bytes()
    except OSError:
        return ""
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name.decode(errors="replace") == OWNER_VARIABLE:
            return value.decode(errors="replace")
    return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def process_items(processes: Mapping[int, Process]) -> Iterator[Item]:
    for process in processes.values():
        note = process.command[:300] + (" (zombie)" if process.state == "Z" else "")
        yield Item("process", f"{process.pid}@{process.start}", holders=(process.pid,), note=note)


def descriptor_links(processes: Mapping[int, Process]) -> dict[int, tuple[str, ...]]:
    """What each process holds open, as the links of /proc/PID/fd read."""
    links = {}
    for pid in processes:
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        links[pid] = tuple(text for number in numbers if (text := _link(Path(f"/proc/{pid}/fd/{number}"))))
    return links


def namespace_items(processes: Mapping[int, Process], links: Links, mounted: Mapping[str, str]) -> Iterator[Item]:
    """Every namespace that a process is in, that a descriptor holds, or that is bind-mounted somewhere."""
    holders: dict[str, set[int]] = defaultdict(set)
    for pid in processes:
        for kind in NAMESPACES:
            if text := _link(Path(f"/proc/{pid}/ns/{kind}")):
                holders[text].add(pid)
    for pid, texts in links.items():
        for text in texts:
            if text.partition(":")[0] in NAMESPACES and text.endswith("]"):
                # The test run itself may look into a namespace; holding one open is then its leak, as a descriptor.
                holders[text].add(pid)
    for text in holders.keys() | mounted.keys():
        where = mounted.get(text, "")
        yield Item("namespace", text, (where,) if where else (), tuple(sorted(holders.get(text, ()))))


def lock_items(processes: Mapping[int, Process]) -> Iterator[Item]:
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "->" or not fields[4].isdigit() or int(fields[4]) not in processes:
            continue
        flavour, access, pid, where = fields[1], fields[3], int(fields[4]), fields[5]
        yield Item("lock", f"{flavour} {access} {where} of {processes[pid].command[:100]}", (), (pid,))


def watched_items(pids: tuple[int, ...], links: Links) -> Iterator[Item]:
    """The descriptors and threads of processes under watch, counted: their numbers mean nothing."""
    for pid in pids:
        descriptors = Counter(text.partition(":[")[0] for text in links.get(pid, ()) if not _is_noise(text))
        threads = Counter(_thread_names(pid))
        for kind, counts in (("descriptor", descriptors), ("thread", threads)):
            for name, count in counts.items():
                for number in range(count):
                    yield Item(kind, f"{name} #{number + 1} of process {pid}", anonymous=True)


def _is_noise(text: str) -> bool:
    return text.startswith(("/dev/null", "/dev/urandom", "/proc/", "pipe:[")) and not text.endswith("/ns/net")


def _thread_names(pid: int) -> Iterator[str]:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for task in tasks:
        try:
            yield Path(f"/proc/{pid}/task/{task}/comm").read_text().strip()
        except OSError:
            continue


def cgroup_items(hierarchies: list[str]) -> Iterator[Item]:
    for hierarchy in hierarchies:
        members: dict[str, tuple[int, ...]] = {}
        for folder, names, _ in os.walk(hierarchy, topdown=False):
            # Who is in a group below holds this one too.
            inside = [pid for name in names for pid in members.get(os.path.join(folder, name), ())]
            members[folder] = (*_members(folder), *inside)
            if folder != hierarchy:
                yield Item("cgroup", folder, (folder,), members[folder])


def _members(folder: str) -> tuple[int, ...]:
    try:
        return tuple(int(line) for line in Path(folder, "cgroup.procs").read_text().split())
    except (OSError, ValueError):
        return ()  # removed meanwhile, or a threaded cgroup
