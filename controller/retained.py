"""Data of volumes whose object is gone: kept by `reclaim: retain` until the same name takes it back, or somebody says that
it may go. Implements controller.interface.Retained."""

from collections.abc import Mapping, Sequence

from drivers.volumes.interface import VolumeDriver
from reconcilers.interface import Events
from resources.errors import NotFound
from resources.kinds import Kind
from resources.meta import Key, Ref


class RetainedVolumes:
    def __init__(self, drivers: Mapping[str, VolumeDriver], events: Events) -> None:
        self._drivers = drivers
        self._events = events

    def list(self, namespace: str | None = None) -> Sequence[Ref]:
        refs = {ref for _, _, ref in self._released() if namespace in (None, ref.namespace)}
        return sorted(refs, key=lambda ref: (ref.namespace, ref.name))

    def discard(self, ref: Ref) -> None:
        found = [(driver, uid) for driver, uid, claim in self._released() if claim == ref]
        if not found:
            raise NotFound(f"there is no retained data of {ref} in namespace {ref.namespace}")
        for driver, uid in found:
            driver.delete(uid, data=True)
            self._events.emit(Key(kind=Kind.VOLUME, uid=uid), "DataDeleted", f"the retained data of {ref} was deleted")

    def _released(self) -> Sequence[tuple[VolumeDriver, str, Ref]]:
        found = []
        for driver in self._drivers.values():
            for state in driver.list():
                if state.released:
                    namespace, _, name = state.claim.partition("/")
                    found.append((driver, state.id, Ref(kind=Kind.VOLUME, namespace=namespace, name=name)))
        return found
