"""What a manifest asks of a volume driver (PURE)."""

from drivers.volumes.interface import VolumeConfig
from resources.object import Object


def wanted_config(desired: Object) -> VolumeConfig:
    meta, spec = desired.metadata, desired.effective
    return VolumeConfig(
        id=meta.uid,
        claim=f"{meta.namespace}/{meta.name}",
        size=spec.size,
        uid=spec.owner.uid,
        gid=spec.owner.gid,
        mode=spec.owner.mode,
    )
