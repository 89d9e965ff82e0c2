"""Volumes, copy-up, population, projected files and staged binds in memory, for tests of what is above them.

What they make belongs to a `FakeVolumeHost`: other driver objects on the same one are the engine's next life. Files are
kept by folder in `host.trees`: `host.trees[volume.path]` is a volume's data, `host.trees[root / "data"]` what a copy-up of
`/data` finds in an image, `host.trees[archive]` what an archive extracts to.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from drivers.snapshots.fake import Breakable
from drivers.volumes.interface import VolumeConfig, VolumeState
from drivers.volumes.names import (
    check_keys,
    checked_projection,
    checked_slot,
    checked_task,
    checked_version,
    checked_volume,
)
from resources.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, Unsupported

_ROOT = Path("/fake")


@dataclass(frozen=True, slots=True)
class FakeProjection:
    version: str
    files: Mapping[str, bytes]
    mode: int
    uid: int
    gid: int
    in_place: bool


@dataclass(slots=True)
class FakeVolumeHost:
    """What outlives a driver object."""

    volumes: dict[tuple[str, str], VolumeState] = field(default_factory=dict)
    """By driver and id."""
    trees: dict[Path, dict[str, bytes]] = field(default_factory=dict)
    projections: dict[str, FakeProjection] = field(default_factory=dict)
    staged: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Sources by task and slot."""
    missing: set[Path] = field(default_factory=set)
    """Host paths that are not there; every other one is."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def reboot(self) -> None:
        """The host goes down: whatever was mounted or in memory is gone."""
        with self.lock:
            self.projections.clear()
            self.staged.clear()
            for driver, volume_id in self.volumes:
                _detach(self, driver, volume_id)


def _detach(host: FakeVolumeHost, driver: str, volume_id: str) -> None:
    state = host.volumes[driver, volume_id]
    if driver == "tmpfs":
        host.trees.pop(state.path, None)
        host.volumes[driver, volume_id] = replace(state, mounted=False, populated=False)
    elif state.size is not None:
        host.volumes[driver, volume_id] = replace(state, mounted=False)


class FakeVolumes(Breakable):
    """`driver` is "tmpfs", or "local", or another word for a second "local" with roots of its own; `unsupported` is why
    this host enforces no sizes, "" when it does."""

    def __init__(self, host: FakeVolumeHost | None = None, driver: str = "local", unsupported: str = "") -> None:
        super().__init__()
        self.host = host or FakeVolumeHost()
        self.driver = driver
        self.unsupported = unsupported

    def validate(self, config: VolumeConfig) -> None:
        checked_volume(config.id)
        if config.size is not None and self.unsupported:
            raise Unsupported(f"a volume cannot be limited in size here: {self.unsupported}")

    def create(self, config: VolumeConfig) -> None:
        self._called("create", checked_volume(config.id))
        self.validate(config)
        with self.host.lock:
            state = self.inspect(config.id)
            if state is None or state.claim != config.claim:
                released = self._claimed(config)
                state = state or (self._taken_back(released, config) if released else None)
            if state and self.driver != "tmpfs" and state.size != config.size:
                self._check_growth(state, config)
            if state is None:
                path = _ROOT / self.driver / config.id
                self.host.trees[path] = {}
                state = VolumeState(config.id, config.claim, path, True, config.size, 0, 0, 0o755, False)
            self._put(
                replace(
                    state,
                    claim=config.claim,
                    size=config.size,
                    uid=state.uid if config.uid is None else config.uid,
                    gid=state.gid if config.gid is None else config.gid,
                    mode=state.mode if config.mode is None else config.mode,
                    released=False,
                    applied=config,
                )
            )
            self._attach(config.id)

    def inspect(self, volume_id: str) -> VolumeState | None:
        return self.host.volumes.get((self.driver, checked_volume(volume_id)))

    def mount(self, volume_id: str) -> None:
        self._called("mount", checked_volume(volume_id))
        self._known(volume_id)
        self._attach(volume_id)

    def delete(self, volume_id: str, *, data: bool) -> None:
        self._called("delete", checked_volume(volume_id))
        with self.host.lock:
            state = self.inspect(volume_id)
            if state is None:
                return
            self._check_unused(state)
            if data:
                del self.host.volumes[self.driver, volume_id]
                self.host.trees.pop(state.path, None)
            else:
                del self.host.volumes[self.driver, volume_id]  # to come last in order
                local = self.driver != "tmpfs"
                self._put(replace(state, released=True, mounted=state.mounted and not (local and state.size)))

    def mark_populated(self, volume_id: str) -> None:
        self._called("mark_populated", checked_volume(volume_id))
        state = self._known(volume_id)
        if self.driver == "tmpfs" and not state.mounted:
            raise FailedPrecondition(f"volume {volume_id} is not mounted")
        self._put(replace(state, populated=True))

    def list(self, prefix: str = "") -> Sequence[VolumeState]:
        with self.host.lock:
            found = sorted(self.host.volumes.items())
            return [state for (driver, name), state in found if driver == self.driver and name.startswith(prefix)]

    def cleanup(self) -> int:
        return 0

    def break_mount(self, volume_id: str) -> None:
        """Someone else unmounts it: for a tmpfs the data goes with it, a plain folder has nothing to unmount."""
        with self.host.lock:
            _detach(self.host, self.driver, volume_id)

    def change_owner(self, volume_id: str, *, uid: int, gid: int, mode: int) -> None:
        """Someone else does, a container perhaps."""
        self._put(replace(self._known(volume_id), uid=uid, gid=gid, mode=mode))

    def _put(self, state: VolumeState) -> None:
        self.host.volumes[self.driver, state.id] = state

    def _known(self, volume_id: str) -> VolumeState:
        state = self.inspect(volume_id)
        if state is None:
            raise NotFound(f"there is no volume {volume_id}")
        return state

    def _attach(self, volume_id: str) -> None:
        state = self._known(volume_id)
        self.host.trees.setdefault(state.path, {})
        self._put(replace(state, mounted=True))

    def _claimed(self, config: VolumeConfig) -> VolumeState | None:
        """What was released last of the claim."""
        found = None
        for (driver, volume_id), state in self.host.volumes.items():
            if driver != self.driver or volume_id == config.id or state.claim != config.claim:
                continue
            if not state.released:
                raise Conflict(f"the claim {config.claim} is held by volume {state.id}")
            found = state
        return found

    def _taken_back(self, state: VolumeState, config: VolumeConfig) -> VolumeState:
        if self.driver != "tmpfs" and state.size != config.size:
            self._check_growth(state, config)
        del self.host.volumes[self.driver, state.id]
        path = _ROOT / self.driver / config.id
        self.host.trees[path] = self.host.trees.pop(state.path, {})
        return replace(state, id=config.id, path=path)

    def _check_unused(self, state: VolumeState) -> None:
        for task_id, slots in self.host.staged.items():
            if any(source.is_relative_to(state.path) for source in slots.values()):
                raise FailedPrecondition(f"volume {state.id} is mounted in task {task_id}")

    @staticmethod
    def _check_growth(state: VolumeState, config: VolumeConfig) -> None:
        if state.size is None or config.size is None or config.size < state.size:
            raise Unsupported(f"the size of a volume can only grow, not change from {state.size} to {config.size}")


class _Filling(Breakable):
    def __init__(self, host: FakeVolumeHost | None = None) -> None:
        super().__init__()
        self.host = host or FakeVolumeHost()

    def _fill(self, target: Path, content: Mapping[str, bytes]) -> None:
        with self.host.lock:
            tree = self.host.trees.setdefault(target, {})
            if not tree:
                tree.update(content)


class FakeCopyUp(_Filling):
    def copy_up(self, source_root: Path, path: str, target: Path) -> None:
        self._called("copy_up", f"{path} {target}")
        self._fill(target, self.host.trees.get(source_root / path.lstrip("/"), {}))


class FakePopulator(_Filling):
    def extract(self, archive: Path, target: Path, *, progress: Callable[[int], None] | None = None) -> None:
        self._called("extract", f"{archive} {target}")
        if archive not in self.host.trees:
            raise NotFound(f"the archive {archive} cannot be read")
        if progress:
            progress(1)
        self._fill(target, self.host.trees[archive])


class FakeProjector(Breakable):
    def __init__(self, host: FakeVolumeHost | None = None) -> None:
        super().__init__()
        self.host = host or FakeVolumeHost()

    def project(
        self,
        projection_id: str,
        version: str,
        files: Mapping[str, bytes],
        *,
        mode: int,
        uid: int,
        gid: int,
        in_place: bool = False,
    ) -> None:
        checked_projection(projection_id)
        checked_version(version)
        check_keys(files)
        made = FakeProjection(version, dict(files), mode, uid, gid, in_place)
        present = self.host.projections.get(projection_id)
        if present and present.in_place is not in_place:
            raise Conflict(f"projection {projection_id} is there already, made the other way")
        if present != made:
            self._called("project", projection_id)
            self.host.projections[projection_id] = made

    def version(self, projection_id: str) -> str | None:
        present = self.host.projections.get(checked_projection(projection_id))
        return present.version if present else None

    def intact(self, projection_id: str, files: Mapping[str, bytes]) -> bool:
        present = self.host.projections.get(checked_projection(projection_id))
        return present is not None and present.files == dict(files)

    def path(self, projection_id: str, key: str | None = None) -> Path:
        folder = _ROOT / "projected" / checked_projection(projection_id)
        if key is None:
            return folder
        check_keys([key])
        return folder / key

    def delete(self, projection_id: str) -> None:
        self._called("delete", checked_projection(projection_id))
        self.host.projections.pop(projection_id, None)

    def list(self) -> Iterator[str]:
        return iter(sorted(self.host.projections))

    def scribble(self, projection_id: str, key: str, content: bytes | None) -> None:
        """Someone else alters a file, or removes it."""
        present = self.host.projections[projection_id]
        files = {**present.files, key: content or b""}
        if content is None:
            del files[key]
        self.host.projections[projection_id] = replace(present, files=files)


class FakeStage(Breakable):
    def __init__(self, host: FakeVolumeHost | None = None) -> None:
        super().__init__()
        self.host = host or FakeVolumeHost()

    def stage(self, task_id: str, slot: str, source: Path, inner: str = "", *, create: bool = False) -> Path:
        self._called("stage", checked_task(task_id))
        checked_slot(slot)
        if not source.is_absolute() or inner.startswith("/") or ".." in PurePosixPath(inner).parts:
            raise InvalidArgument(f"{source} {inner!r}: the source of a bind is absolute, what is inside it is not")
        with self.host.lock:
            if create:
                self.host.missing.discard(source)
            lost = [state for state in self.host.volumes.values() if state.path == source and not state.mounted]
            if source in self.host.missing or lost:
                raise FailedPrecondition(f"{source} is not there", hint="make it, or say `create: true`")
            self.host.staged.setdefault(task_id, {}).setdefault(slot, source / inner)
            return _ROOT / "stage" / task_id / slot

    def unstage(self, task_id: str) -> None:
        self._called("unstage", checked_task(task_id))
        self.host.staged.pop(task_id, None)

    def list(self) -> Sequence[str]:
        return sorted(self.host.staged)

    def break_mount(self, task_id: str, slot: str) -> None:
        """Someone else unmounts it."""
        del self.host.staged[task_id][slot]
