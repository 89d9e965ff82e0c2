"""What may go from the content store and the snapshots: everything that neither an image to keep nor a container needs."""

from collections.abc import Collection, Iterable, Sequence

from drivers.images.digest import chain_ids
from drivers.images.interface import ContentStore, Image, ImageStore
from drivers.snapshots.interface import SnapshotInfo, SnapshotKind, Snapshotter


def prune(
    images: Iterable[Image],
    content: ContentStore,
    names: ImageStore,
    snapshotter: Snapshotter,
    leased: Collection[str] = (),
) -> int:
    """Delete what none of `images`, no active snapshot and none of the `leased` blobs needs; return the bytes freed."""
    kept = list(images)
    blobs = {*leased, *(image.id for image in kept)}
    chains: set[str] = set()
    for image in kept:
        blobs.add(image.config_digest)
        blobs.update(layer.digest for layer in image.layers)
        chains.update(chain_ids(image.diff_ids))
    freed = 0
    for blob in list(content.walk()):
        if blob.digest not in blobs:
            content.delete(blob.digest)
            freed += blob.size
    freed += _prune_snapshots(chains, snapshotter)
    # Last: as long as a name is there, whoever was killed meanwhile knows that something is left to be deleted.
    for name, target in names.list():
        if target.digest not in blobs:
            names.delete(name)
    return freed


def unneeded(snapshots: Sequence[SnapshotInfo], keep: Iterable[str]) -> list[str]:
    """The committed snapshots that are in no kept chain and below no active one, children before their parents."""
    by_name = {info.key: info for info in snapshots if info.kind is SnapshotKind.COMMITTED}
    needed: set[str] = set()
    roots = [info.parent for info in snapshots if info.kind is not SnapshotKind.COMMITTED]
    for name in [*roots, *keep]:
        while name in by_name and name not in needed:
            needed.add(name)
            name = by_name[name].parent

    def depth(name: str) -> int:
        count = 0
        while name in by_name:
            name, count = by_name[name].parent, count + 1
        return count

    return sorted(by_name.keys() - needed, key=depth, reverse=True)


def _prune_snapshots(keep: Iterable[str], snapshotter: Snapshotter) -> int:
    freed = 0
    for name in unneeded(list(snapshotter.walk()), keep):
        size = snapshotter.usage(name).bytes
        snapshotter.remove(name)
        freed += size
    return freed
