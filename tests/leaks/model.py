"""What is compared: items of the host, whose they are, and what changed."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Item:
    """One thing on the host. Items with the same kind and identity are the same thing.

    `evidence` holds the names and paths that can tell whose it is, `holders` the processes that keep it.
    `anonymous` things have neither: they count whoever made them. `value` differs when the thing was changed;
    a `shared` one must not go away either; a `fault` counts even if it was there before. `note` is for the reader.
    """

    kind: str
    identity: str
    evidence: tuple[str, ...] = ()
    holders: tuple[int, ...] = ()
    anonymous: bool = False
    shared: bool = False
    fault: bool = False
    value: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    start: int
    parent: int
    session: int
    state: str
    command: str
    cgroups: str
    token: str
    cwd: str


@dataclass(frozen=True, slots=True)
class Store:
    """A folder one of our drivers keeps, and what its own records say must be in it: no more and no less."""

    name: str
    folder: Path
    known: Callable[[], Iterable[str]] = tuple


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose leftovers count. On a machine that others use too, only what is provably ours.

    roots      folders of ours: whatever names a path below them is ours
    marks      words that occur in the names of what we make in the kernel (an instance)
    prefixes   words that occur in those names whoever made them; they count for what no stranger's process holds
    token      the value of LADING_TEST_OWNER that our processes inherited
    ancestors  processes whose descendants are ours
    watched    processes whose own descriptors and threads are counted
    stores     folders compared with their records; a difference counts even if it was there before
    state      folders in which nothing may stay, but for files whose names match `kept`
    strict     everything new counts: for a machine that does nothing else
    """

    roots: tuple[Path, ...] = ()
    marks: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    token: str = ""
    ancestors: tuple[int, ...] = field(default_factory=lambda: (os.getpid(),))
    watched: tuple[int, ...] = ()
    stores: tuple[Store, ...] = ()
    state: tuple[Path, ...] = ()
    kept: tuple[str, ...] = ()
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    items: Mapping[tuple[str, str], Item]
    processes: Mapping[int, Process]


@dataclass(frozen=True, slots=True)
class Leak:
    kind: str
    change: str  # left | changed | gone
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.change}: {self.what}"


def ours(processes: Mapping[int, Process], scope: Scope) -> frozenset[int]:
    """The processes that belong to the scope: marked, named for its folders, or descended from one that does.

    The ancestors themselves (the test run) do not: what they hold is theirs to hold.
    """
    mine = {pid for pid, process in processes.items() if _speaks_of_us(process, scope)}
    roots = set(scope.ancestors)
    grew = True
    while grew:
        descended = {
            pid
            for pid, process in processes.items()
            if pid not in mine and (process.parent in mine or process.parent in roots or process.session in mine)
        }
        mine |= descended
        grew = bool(descended)
    return frozenset(mine - roots)


def _speaks_of_us(process: Process, scope: Scope) -> bool:
    if scope.token and process.token == scope.token:
        return True
    texts = (process.command, process.cwd)
    if any(names_path(text, root) for root in scope.roots for text in texts):
        return True
    return any(mark in process.cgroups for mark in scope.marks) or (
        any(mark in process.command for mark in scope.marks) and not _is_onlooker(process)
    )


def _is_onlooker(process: Process) -> bool:
    """An editor, a shell or a test runner may name us in its arguments without being of ours."""
    return Path(process.command.split(" ", 1)[0]).name not in {"conmon", "crun", "runc", "lading"}


def names_path(text: str, root: Path) -> bool:
    """Whether the text names the folder or something below it, and not just a longer name."""
    wanted = str(root)
    start = text.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        if end == len(text) or not (text[end].isalnum() or text[end] in "-_."):
            return True
        start = text.find(wanted, end)
    return False


def diff(before: Snapshot, after: Snapshot, scope: Scope) -> list[Leak]:
    """What of ours is there now and was not, and what of everybody's was changed or taken away."""
    mine = ours(after.processes, scope)
    leaks = [
        Leak(item.kind, "left", f"{item.identity} {item.note}".rstrip())
        for key, item in after.items.items()
        if item.fault or (key not in before.items and _owned(item, scope, mine))
    ]
    for key, was in before.items.items():
        now = after.items.get(key)
        if now is None:
            if was.shared:
                leaks.append(Leak(was.kind, "gone", was.identity))
        elif now.value != was.value:
            leaks.append(Leak(was.kind, "changed", f"{was.identity}: {was.value} -> {now.value}"))
    return sorted(leaks, key=lambda leak: (leak.kind, leak.change, leak.what))


def _owned(item: Item, scope: Scope, mine: frozenset[int]) -> bool:
    if scope.strict or item.anonymous:
        return True
    if any(names_path(text, root) for root in scope.roots for text in item.evidence):
        return True
    if any(mark in text for mark in scope.marks for text in item.evidence):
        return True
    if not item.holders:
        return any(prefix in text for prefix in scope.prefixes for text in item.evidence)
    return any(pid in mine for pid in item.holders)
