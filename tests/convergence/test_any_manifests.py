"""From any set of manifests to any other: what a plan says comes true, what is applied is applied once, and nothing stays."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controller.interface import ApplyOptions
from controller.plan import Change, Plan, Verb
from controller.store.seal import HostKey
from drivers.runtime.interface import TaskState
from reconcilers.container.model import UNKNOWN
from reconcilers.interface import ChangeKind, FieldChange
from resources.kinds import Kind
from resources.meta import Ref
from tests.convergence.generated import CONTAINER_EDITS, EDITS, OTHER_EDITS, Edit, edited, manifests
from tests.convergence.world import World

OWNED = ApplyOptions(owner="test", prune=True)


def unforeseen(plan: Plan, before: Mapping[Ref, TaskState], world: World) -> list[str]:
    """What has become of the processes otherwise than the plan said."""
    said = {change.ref: change for change in plan.changes}
    flaws = []
    for ref, old in before.items():
        change = said.get(ref) or Change(ref, Verb.NONE)
        new = world.task(ref.name)
        flaw = _flaw(change, old, new)
        if flaw:
            flaws.append(f"{ref}: {change.verb} {change.kind.name} {change.fields}, but {flaw}: {_told(old, new)}")
    return flaws


def _flaw(change: Change, old: TaskState, new: TaskState | None) -> str:
    if change.verb is Verb.DELETE:
        return "it is there" if new is not None else ""
    same = new is not None and new.id == old.id
    known = [field.kind for field in change.fields if not _open(field)]
    if change.kind >= ChangeKind.RECREATE and max(known, default=ChangeKind.NONE) < ChangeKind.RECREATE:
        return ""
    if change.kind >= ChangeKind.RECREATE:
        return "it lives on" if same else ""
    if not same or new is None:
        return "it is another one"
    untouched = (new.pid, new.start_time, new.attempt, new.started_at) == (
        old.pid, old.start_time, old.attempt, old.started_at,
    )  # fmt: skip
    if change.kind is ChangeKind.RESTART:
        open_ = max(known, default=ChangeKind.NONE) < ChangeKind.RESTART
        return "its process is the same" if untouched and not open_ else ""
    return "" if untouched else "its process is another one"


def _open(field: FieldChange) -> bool:
    """What another archive holds is known only once it is imported, and whether one runs again whose sandbox is shared only
    when it does: it may stay as it is."""
    return field.new == UNKNOWN or field.path == "spec.image"


def _told(old: TaskState, new: TaskState | None) -> str:
    return " -> ".join(f"{one.id[-2:]}/{one.attempt} {one.status} {one.pid}" if one else "none" for one in (old, new))


def tasks(world: World) -> dict[Ref, TaskState]:
    found = {item.ref: world.task(item.metadata.name) for item in world.objects if item.kind is Kind.CONTAINER}
    return {ref: task for ref, task in found.items() if task is not None}


def check(folder: Path, key: HostKey, first: list[Edit], steps: list[list[Edit]], *, restarts: bool = False) -> None:
    world = World(folder, key)
    wish, grown = edited({}, first), False
    for edits in [[], *steps]:
        wish = edited(wish, edits)
        grown = grown or any("size" in fields for fields in wish.values())
        text, files = manifests(wish, grown)
        plan = world.plan(text, files, OWNED)
        before = tasks(world)
        world.apply(text, files, OWNED)
        if restarts:
            world.restart()
        world.converge()
        flaws = unforeseen(plan, before, world)
        assert not flaws, "\n".join([*flaws, text])
        if restarts:
            running = tasks(world)
            world.restart()
            world.converge()
            assert {ref: task.pid for ref, task in running.items()} == {ref: t.pid for ref, t in tasks(world).items()}
        again = [change for change in world.plan(text, files, OWNED).changes if not change.empty]
        assert not again, f"{again}\n{text}"
        changed = world.engine.objects.changed()
        applied = world.apply(text, files, OWNED)
        assert not [*applied.created, *applied.changed, *applied.deleted], f"applied twice: {applied}\n{text}"
        assert world.engine.objects.changed() == changed
    world.delete_all()
    assert not world.left(), f"{world.left()}\n{text}"


def steps(edits: st.SearchStrategy[Edit], most: int) -> st.SearchStrategy[list[list[Edit]]]:
    return st.lists(st.lists(edits, min_size=1, max_size=most), min_size=2, max_size=2)


PROFILE = settings(
    deadline=None, derandomize=True, max_examples=260, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> HostKey:
    return HostKey(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="session")
def folders() -> Iterator[Callable[[], Path]]:
    """In memory where there is such a place: what is uploaded is synced."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        numbers = itertools.count()

        def folder() -> Path:
            made = Path(name) / str(next(numbers))
            made.mkdir()
            return made

        yield folder


Folders = Callable[[], Path]


@PROFILE
@given(first=st.lists(EDITS, min_size=4, max_size=24), steps=steps(EDITS, 4))
def test_from_any_set_to_any_other(key: HostKey, folders: Folders, first: list[Edit], steps: list[list[Edit]]) -> None:
    check(folders(), key, first, steps)


@PROFILE
@given(first=st.lists(CONTAINER_EDITS, min_size=12, max_size=48), steps=steps(CONTAINER_EDITS, 3))
def test_containers_change(key: HostKey, folders: Folders, first: list[Edit], steps: list[list[Edit]]) -> None:
    check(folders(), key, first, steps)


@PROFILE
@given(first=st.lists(CONTAINER_EDITS | OTHER_EDITS, min_size=12, max_size=32), steps=steps(OTHER_EDITS, 2))
def test_what_containers_use_changes(
    key: HostKey, folders: Folders, first: list[Edit], steps: list[list[Edit]]
) -> None:
    check(folders(), key, first, steps)


@PROFILE
@given(first=st.lists(EDITS, min_size=4, max_size=24), steps=steps(EDITS, 4))
def test_engines_come_and_go(key: HostKey, folders: Folders, first: list[Edit], steps: list[list[Edit]]) -> None:
    check(folders(), key, first, steps, restarts=True)
