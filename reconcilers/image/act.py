"""Do what was decided for an Image. Pull, import, unpack and prune are jobs."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from drivers.images.interface import Image, Images
from reconcilers.attempts import attempted
from reconcilers.image.asks import Asks
from reconcilers.image.choice import chosen
from reconcilers.image.model import (
    POOL,
    PULLS,
    TAGS,
    UID,
    UNPACKED,
    AbandonPull,
    DropJob,
    DropRecord,
    FinishPull,
    ImageAction,
    NoteUnpacked,
    SetTags,
    StartImport,
    StartPrune,
    StartPull,
    StartUnpack,
    UseLocal,
    import_job,
    prune_job,
    record_name,
    unpack_job,
)
from reconcilers.image.observe import whole_image
from reconcilers.image.pulls import Pulls
from reconcilers.image.records import Records
from reconcilers.interface import Inputs, JobProgress, Jobs, Sealer
from resources.errors import EngineError, FailedPrecondition, NotFound, Unavailable


class ImageActs:
    def __init__(
        self, images: Images, jobs: Jobs, inputs: Inputs, sealer: Sealer, asks: Asks, now: Callable[[], datetime]
    ) -> None:
        self._images = images
        self._jobs = jobs
        self._inputs = inputs
        self._asks = asks
        self._now = now
        self._records = Records(images)
        self._importing = 0
        self._noting = threading.Lock()
        self.pulls = Pulls(images, self._records, sealer, asks)

    def act(self, action: ImageAction) -> None:
        match action:
            case StartPull(uid=uid, attempt=number):
                run = attempted(action.work, number, self._now, self.pulls.job(action, self.pulls.begin(action)))
                self._jobs.start(import_job(uid), PULLS, run, lane=action.wanted.reference.partition("/")[0])
            case FinishPull():
                self.pulls.told(action)
            case UseLocal():
                self.pulls.use_local(action)
            case StartImport(uid=uid, attempt=number):
                self.pulls.begin(action)
                run = attempted(action.work, number, self._now, lambda progress: self._import(action, progress))
                self._jobs.start(import_job(uid), POOL, run)
            case StartUnpack(uid=uid, target=target, attempt=number):
                run = attempted(target, number, self._now, lambda progress: self._unpack(uid, target, progress))
                self._jobs.start(unpack_job(uid), POOL, run)
            case NoteUnpacked(uid=uid, target=target):
                self._note(uid, target, UNPACKED, "true")
            case SetTags():
                self._set_tags(action)
            case DropJob(job_id=job_id):
                self._drop(job_id)
            case AbandonPull(uid=uid, reference=reference):
                self.pulls.abandon(uid, reference)
            case DropRecord(uid=uid, target=target):
                self._records.drop(uid, target)
                self._asks.forget(uid)
            case StartPrune(uid=uid, attempt=number):
                run = attempted(uid, number, self._now, lambda progress: self._forget(uid, progress))
                self._jobs.start(prune_job(uid), POOL, run)

    def prune(self, without: str = "") -> int:
        """Delete content and snapshots that no name needs; those of the Image `without` (a uid) count for nothing.

        Raises: Unavailable while something is imported.
        """
        with self._records.lock:
            if self._importing:
                raise Unavailable("images are being imported")
            keep = {
                target.digest
                for name, target in self._images.names().list()
                if not without or target.annotations.get(UID) != without
            }
            # One that is damaged must not hold up all others.
            return self._images.prune(sorted(digest for digest in keep if whole_image(self._images, digest)))

    def _drop(self, job_id: str) -> None:
        state = self._jobs.state(job_id)
        self._jobs.cancel(job_id)
        self._jobs.forget(job_id)
        uid = job_id.partition(":")[2].partition("/")[0]
        if job_id == import_job(uid):
            self.pulls.give_up(uid, running=state is not None and state.running)

    def _import(self, action: StartImport, progress: JobProgress) -> None:
        recorded = False
        try:
            with self.between_imports():
                self._import_and_record(action, progress)
                recorded = True
        finally:
            if not recorded:
                # What came of it may be whole and yet nobody's. Whoever keeps us from it now prunes later.
                with suppress(EngineError):
                    self.prune()

    def _import_and_record(self, action: StartImport, progress: JobProgress) -> None:
        wanted = action.wanted
        path = self._inputs.path(wanted.digest)
        if path is None:
            raise FailedPrecondition(f"the content of {action.shown} is not here", hint="apply again to send it")
        try:
            found = self._load(wanted.source, path, wanted.platform, _named(progress, f"import {action.shown}"))
            image, choice = chosen(found, wanted.tags)
        except EngineError as error:
            # The file is called by its digest here; the user knows it by another name.
            error.message = error.message.replace(path.name, action.shown)
            raise
        progress(f"import {action.shown}", image.size, image.size)  # the last moment to be cancelled
        self._records.put(action.uid, image, wanted, choice=choice)

    def _load(self, source: str, path: Path, platform: str, progress: JobProgress) -> Sequence[Image]:
        if source == "rootfs":
            return [self._images.import_rootfs(path, platform=platform, progress=progress)]
        load = self._images.import_layout if source == "layout" else self._images.import_archive
        return load(path, platform=platform, progress=progress)

    def _unpack(self, uid: str, target: str, progress: JobProgress) -> None:
        image = self._images.image(target)
        if image is None:
            raise NotFound(f"content of the image {target} is gone", hint="it is imported again")
        self._images.unpack(image, progress=progress)
        progress("unpack", image.size, image.size)
        self._note(uid, target, UNPACKED, "true")

    def _set_tags(self, action: SetTags) -> None:
        names = self._images.names()
        record = names.get(record_name(action.uid))
        for name in action.drop:
            names.delete(name)
        if record is None:
            return
        for name in action.put:
            names.put(name, replace(record, annotations={UID: action.uid}))
        self._note(action.uid, record.digest, TAGS, " ".join(action.tags))

    def _note(self, uid: str, target: str, key: str, value: str) -> None:
        names = self._images.names()
        with self._noting:
            record = names.get(record_name(uid))
            if record is not None and record.digest == target:
                names.put(record_name(uid), replace(record, annotations={**record.annotations, key: value}))

    def _forget(self, uid: str, progress: JobProgress) -> None:
        progress("prune", 0, 0)
        self.prune(without=uid)
        # Last, since it is what says that there is something to prune.
        self._images.names().delete(record_name(uid))
        self._asks.forget(uid)

    @contextmanager
    def between_imports(self) -> Iterator[None]:
        """No prune between the end of an import and its record."""
        with self._records.lock:
            self._importing += 1
        try:
            yield
        finally:
            with self._records.lock:
                self._importing -= 1


def _named(progress: JobProgress, what: str) -> JobProgress:
    return lambda _, done, total: progress(what, done, total)
