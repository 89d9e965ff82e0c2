"""Do what was decided for a Volume. Populating is a job."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from drivers.copy.interface import Copier
from drivers.volumes.interface import CopyUp, Populator, VolumeDriver
from reconcilers.attempts import attempted
from reconcilers.interface import Inputs, JobProgress, Jobs
from reconcilers.volume.model import (
    POOL,
    ArchiveSeed,
    ChangeVolume,
    CreateVolume,
    DeleteVolume,
    DropPopulate,
    ImageSeed,
    MountVolume,
    StartPopulate,
    VolumeAction,
    populate_job,
)
from reconcilers.volume.seeds import SeedViews
from resources.errors import EngineError, FailedPrecondition, InvalidArgument, Unavailable


class VolumeActs:
    def __init__(
        self,
        drivers: Mapping[str, VolumeDriver],
        views: SeedViews,
        copy_up: CopyUp,
        populator: Populator,
        copier: Copier,
        jobs: Jobs,
        inputs: Inputs,
        now: Callable[[], datetime],
    ) -> None:
        self._drivers = drivers
        self._views = views
        self._copy_up = copy_up
        self._populator = populator
        self._copier = copier
        self._jobs = jobs
        self._inputs = inputs
        self._now = now
        self._lock = threading.Lock()
        self._populating: set[str] = set()

    def act(self, action: VolumeAction) -> None:
        match action:
            case CreateVolume(driver=driver, config=config) | ChangeVolume(driver=driver, config=config):
                self._drivers[driver].create(config)
            case MountVolume(driver=driver, uid=uid):
                self._drivers[driver].mount(uid)
            case StartPopulate(config=config, seed=seed, attempt=number):
                run = attempted(seed, number, self._now, lambda progress: self._populate(action, progress))
                self._jobs.start(populate_job(config.id), POOL, run)
            case DropPopulate(uid=uid):
                self._jobs.cancel(populate_job(uid))
                self._jobs.forget(populate_job(uid))
                self._check_idle(uid)
                self._views.drop(uid)
            case DeleteVolume(driver=driver, uid=uid, data=data):
                self._check_idle(uid)
                self._drivers[driver].delete(uid, data=data)

    def _populate(self, action: StartPopulate, progress: JobProgress) -> None:
        uid, seed, driver = action.config.id, action.seed, self._drivers[action.driver]
        with self._busy(uid):
            progress(f"populate from {seed}", 0, 0)
            state = driver.inspect(uid)
            if state is None or not state.mounted:
                raise FailedPrecondition("the volume is not mounted")
            if isinstance(seed, ArchiveSeed):
                self._from_archive(seed, state.path, progress)
            elif seed.chain_id:
                self._from_image(uid, seed, seed.chain_id, state.path)
            driver.create(action.config)  # the owner came with the content; the manifest's is put back
            driver.mark_populated(uid)

    def _from_archive(self, seed: ArchiveSeed, target: Path, progress: JobProgress) -> None:
        archive = self._inputs.path(seed.digest)
        if archive is None:
            raise FailedPrecondition(f"the content of {seed.shown} is not here", hint="apply again to send it")
        total = archive.stat().st_size
        try:
            self._populator.extract(
                archive, target, progress=lambda done: progress(f"populate from {seed}", done, total)
            )
        except EngineError as error:
            # The file is called by its digest here; the user knows it by another name.
            error.message = error.message.replace(str(archive), seed.shown).replace(archive.name, seed.shown)
            raise

    def _from_image(self, uid: str, seed: ImageSeed, chain_id: str, target: Path) -> None:
        with self._views.mounted(uid, chain_id) as root:
            if seed.path != "/" and self._copier.stat(root, seed.path) is None:
                raise InvalidArgument(f"spec.populate.path: image/{seed.image} has no {seed.path}")
            self._copy_up.copy_up(root, seed.path, target)

    def _check_idle(self, uid: str) -> None:
        """A copy cannot be stopped in its middle; what it works on stays until it has ended."""
        with self._lock:
            if uid in self._populating:
                raise Unavailable("the volume is still being populated")

    @contextmanager
    def _busy(self, uid: str) -> Iterator[None]:
        with self._lock:
            self._populating.add(uid)
        try:
            yield
        finally:
            with self._lock:
                self._populating.discard(uid)
