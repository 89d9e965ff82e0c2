"""Pulls images out of registries, and knows which pull or import of an Image was begun last, and whether it is wanted."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from drivers.images.interface import Credentials, Images
from reconcilers.image.asks import Asks
from reconcilers.image.login import credentials
from reconcilers.image.model import Auth, FinishPull, Pulled, StartImport, StartPull, UseLocal
from reconcilers.image.observe import whole_image
from reconcilers.image.records import Records
from reconcilers.interface import JobProgress, Sealer
from resources.errors import Cancelled, Unavailable
from resources.image_reference import parse

_REMEMBERED = 1024
_DIGEST = "sha256:"


@dataclass(frozen=True, slots=True)
class Begun:
    work: Hashable
    reference: str
    """"" for an import."""
    given_up: threading.Event = field(default_factory=threading.Event)


class Pulls:
    def __init__(self, images: Images, records: Records, sealer: Sealer, asks: Asks) -> None:
        self._images = images
        self._records = records
        self._sealer = sealer
        self._asks = asks
        self._begun: dict[str, Begun] = {}
        self._pulled: dict[str, Pulled] = {}
        self._abandoned: dict[str, None] = {}

    def work(self, uid: str) -> Hashable:
        """What was begun for it last."""
        begun = self._begun.get(uid)
        return begun.work if begun else None

    def pulled(self, uid: str) -> Pulled | None:
        """What nobody was told of yet."""
        return self._pulled.get(uid)

    def told(self, action: FinishPull) -> None:
        if self._pulled.get(action.uid) == action.pulled:
            del self._pulled[action.uid]

    def abandoned(self, uid: str) -> bool:
        return uid in self._abandoned

    def abandon(self, uid: str, reference: str) -> None:
        self._images.abandon(reference)
        self._abandoned[uid] = None
        if len(self._abandoned) > _REMEMBERED:  # once more does no harm
            self._abandoned.pop(next(iter(self._abandoned)))

    def begin(self, action: StartPull | StartImport) -> Begun:
        self._abandoned.pop(action.uid, None)
        before = self._begun.get(action.uid)
        begun = self._begun[action.uid] = Begun(action.work, action.wanted.reference)
        if before is not None and before.reference not in ("", begun.reference):
            self._images.abandon(before.reference)
        return begun

    def give_up(self, uid: str, *, running: bool) -> None:
        """What has been fetched so far goes too: at once, or as soon as the pull has heard of it."""
        self._pulled.pop(uid, None)
        begun = self._begun.pop(uid, None)
        if begun is not None and begun.reference:
            begun.given_up.set()
            if not running:
                self._images.abandon(begun.reference)

    def job(self, action: StartPull, begun: Begun) -> Callable[[JobProgress], None]:
        def run(progress: JobProgress) -> None:
            ask = self._asks.get(action.uid)
            fetched: dict[str, int] = {}
            since = time.monotonic()
            try:
                if self._pull(action, progress, fetched):
                    took = time.monotonic() - since
                    size = sum(fetched.values())
                    self._pulled[action.uid] = Pulled(action.wanted.reference, size, took, action.attempt)
            except Cancelled:
                # An engine that ends cancels too, and its next life goes on where this one was.
                if begun.given_up.is_set():
                    self._images.abandon(begun.reference)
                raise
            except Exception:
                self._asks.failed(action.uid, ask)
                raise
            self._asks.answered(action.uid, ask)

        return run

    def use_local(self, action: UseLocal) -> None:
        with self._records.at_once():
            image = whole_image(self._images, action.local.target)
            if image is None:
                raise Unavailable(f"{action.local.name} was here until just now")
            self._records.put(action.uid, image, action.wanted, action.local.resolved)

    def _pull(self, action: StartPull, progress: JobProgress, fetched: dict[str, int]) -> bool:
        """False where it is here as the registry has it. `fetched`: bytes by digest."""
        wanted = action.wanted
        label = f"pull {wanted.reference}"
        progress(label, 0, 0)
        login = self._credentials(action.auth, wanted.reference)

        def told(what: str, done: int, total: int) -> None:
            if what.startswith(_DIGEST):
                fetched[what] = done
            progress(_part(label, what), done, total)

        if action.unless:
            found = self._images.resolve(wanted.reference, credentials=login, progress=told)
            if found.digest == action.unless:
                return False
        image = self._images.pull(wanted.reference, platform=wanted.platform, credentials=login, progress=told)
        progress(label, image.size, image.size)  # the last moment to be cancelled
        with self._records.lock:
            if whole_image(self._images, image.id) is None:
                raise Unavailable(f"what was pulled of {wanted.reference} was deleted before it had a name")
            self._records.put(action.uid, image, wanted, image.resolved)
            self._records.cache(image, wanted)
        return True

    def _credentials(self, auth: Auth | None, reference: str) -> Credentials | None:
        if auth is None:
            return None
        values = {key: self._sealer.open(sealed) for key, sealed in auth.entries.items()}
        return credentials(auth.name, values, parse(reference).domain)


def _part(label: str, what: str) -> str:
    """A layer stands beside what is pulled; before there is one there is nothing to tell of."""
    return f"{label} {what}" if what.startswith(_DIGEST) else label
