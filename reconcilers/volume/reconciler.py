"""Volume: data with a life of its own, in the driver the manifest names."""

from collections.abc import Callable, Mapping
from datetime import datetime

from drivers.copy.interface import Copier
from drivers.images.interface import Images
from drivers.snapshots.interface import RootFilesystems, Snapshotter
from drivers.volumes.interface import CopyUp, Populator, VolumeDriver
from reconcilers.interface import Context, Diff, Inputs, Jobs
from reconcilers.volume.act import VolumeActs
from reconcilers.volume.diff import decide, inputs_needed
from reconcilers.volume.model import ObservedVolume, VolumeAction
from reconcilers.volume.observe import VolumeEyes
from reconcilers.volume.seeds import SeedViews
from reconcilers.volume.status import volume_status
from resources.kinds import Kind
from resources.meta import Key, Status
from resources.object import Object


class VolumeReconciler:
    kind = Kind.VOLUME

    def __init__(
        self,
        drivers: Mapping[str, VolumeDriver],
        *,
        images: Images,
        snapshotter: Snapshotter,
        root_filesystems: RootFilesystems,
        copy_up: CopyUp,
        populator: Populator,
        copier: Copier,
        jobs: Jobs,
        inputs: Inputs,
        now: Callable[[], datetime],
    ) -> None:
        """`drivers` by the word a manifest says; `snapshotter` is the one `images` unpacks into; `root_filesystems` in a
        folder apart from the containers', who would take what is mounted there for an orphan of theirs."""
        views = SeedViews(snapshotter, root_filesystems)
        self._drivers = drivers
        self._eyes = VolumeEyes(drivers, images, views, jobs, inputs)
        self._acts = VolumeActs(drivers, views, copy_up, populator, copier, jobs, inputs, now)

    def observe(self, key: Key, desired: Object | None, context: Context) -> ObservedVolume:
        return self._eyes.observe(key, desired, context)

    def diff(self, desired: Object | None, observed: ObservedVolume, context: Context) -> Diff[VolumeAction]:
        return decide(desired, observed, context).diff

    def act(self, action: VolumeAction) -> None:
        self._acts.act(action)

    def status(self, desired: Object, observed: ObservedVolume, context: Context) -> Status:
        return volume_status(desired, observed, context)

    def known(self) -> list[Key]:
        """Not those whose data is retained: they have no object by design."""
        live = (state.id for driver in self._drivers.values() for state in driver.list() if not state.released)
        return [Key(kind=Kind.VOLUME, uid=uid) for uid in sorted(set(live))]

    def inputs_needed(self, desired: Object, observed: ObservedVolume) -> frozenset[str]:
        """Digests of the inputs that have to be here for it; none once it is populated."""
        return inputs_needed(desired, observed)
