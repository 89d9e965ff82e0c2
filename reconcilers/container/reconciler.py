"""Container: the reconciler, made of its parts."""

from reconcilers.container.act import Actor
from reconcilers.container.actions import ContainerAction
from reconcilers.container.diff import diff
from reconcilers.container.drivers import ContainerDrivers
from reconcilers.container.model import Observed
from reconcilers.container.observe import Observer
from reconcilers.container.status import status
from reconcilers.interface import Context, Diff
from resources.kinds import Kind
from resources.meta import Key, Status
from resources.object import Object

__all__ = ["ContainerDrivers", "ContainerReconciler"]


class ContainerReconciler:
    kind = Kind.CONTAINER

    def __init__(self, drivers: ContainerDrivers) -> None:
        self._observer = Observer(drivers)
        self._actor = Actor(drivers)

    def observe(self, key: Key, desired: Object | None, context: Context) -> Observed:
        return self._observer.observe(key, desired, context)

    def diff(self, desired: Object | None, observed: Observed, context: Context) -> Diff[ContainerAction]:
        return diff(desired, observed, context)

    def act(self, action: ContainerAction) -> None:
        self._actor.act(action)

    def status(self, desired: Object, observed: Observed, context: Context) -> Status:
        return status(desired, observed, context)

    def known(self) -> list[Key]:
        return self._observer.known()
