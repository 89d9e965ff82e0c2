"""Read what is there of a Volume."""

from collections.abc import Mapping
from dataclasses import replace

from drivers.images.interface import Images
from drivers.volumes.interface import VolumeDriver, VolumeState
from reconcilers.interface import Context, Inputs, Jobs
from reconcilers.volume.config import wanted_config
from reconcilers.volume.model import ArchiveSeed, ImageSeed, ObservedVolume, Seed, populate_job
from reconcilers.volume.seeds import SeedViews
from resources.errors import EngineError
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object


class VolumeEyes:
    def __init__(
        self, drivers: Mapping[str, VolumeDriver], images: Images, views: SeedViews, jobs: Jobs, inputs: Inputs
    ) -> None:
        self._drivers = drivers
        self._images = images
        self._views = views
        self._jobs = jobs
        self._inputs = inputs

    def observe(self, key: Key, desired: Object | None, context: Context) -> ObservedVolume:
        # The job first: one that ends in between is seen as running, and wakes us.
        populating = self._jobs.state(populate_job(key.uid))
        driver, state = self._held(key.uid)
        found = ObservedVolume(
            uid=key.uid,
            drivers=tuple(sorted(self._drivers)),
            driver=driver,
            state=state,
            seed_left=self._views.left(key.uid),
            populating=populating,
        )
        wanted = None if desired is None or desired.deleting else self._drivers.get(desired.effective.driver)
        if desired is None or wanted is None:
            return found
        seed, here = self._seed(desired, context)
        found = replace(found, seed=seed, seed_here=here, refusal=_refusal(wanted, desired, state))
        if state is not None:
            return found
        claim = wanted_config(desired).claim
        retained = (one for one in wanted.list() if one.released and one.claim == claim)
        return replace(found, retained=next(retained, None))

    def _held(self, uid: str) -> tuple[str, VolumeState | None]:
        held: tuple[str, VolumeState | None] = ("", None)
        for name, driver in sorted(self._drivers.items()):
            state = driver.inspect(uid)
            if state is not None and not state.released:
                return name, state
            if state is not None:
                held = (name, state)
        return held

    def _seed(self, desired: Object, context: Context) -> tuple[Seed | None, bool]:
        populate = desired.effective.populate
        if populate is None:
            return None, False
        if populate.archive is not None:
            sent = desired.inputs.get("spec.populate.archive")
            digest = sent.digest if sent else ""
            here = sent is not None and self._inputs.path(digest) is not None
            return ArchiveSeed(digest, populate.archive), here
        ref = Ref(kind=Kind.IMAGE, namespace=desired.metadata.namespace, name=populate.image.name)
        target = context.dependencies.get(ref)
        named = None if target is None else self._images.names().get(f"uid:{target.metadata.uid}")
        image = None if named is None else self._images.image(named.digest)
        seed = ImageSeed(populate.image.name, populate.path or "/", None if image is None else image.chain_id)
        return seed, image is not None and self._images.unpacked(image)


def _refusal(driver: VolumeDriver, desired: Object, state: VolumeState | None) -> EngineError | None:
    config = wanted_config(desired)
    if state is not None and state.size == config.size:
        return None
    try:
        driver.validate(config)
    except EngineError as error:
        return error
    return None
