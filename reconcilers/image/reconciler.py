"""Image: content in the store under the name `uid:<uid>`, its layers unpacked, its tags given.

What was pulled has its reference for a name, too, which is nobody's and outlives the Image.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from drivers.images.interface import Images
from reconcilers.image.act import ImageActs
from reconcilers.image.asks import Asks
from reconcilers.image.diff import decide, inputs_needed
from reconcilers.image.model import ImageAction, ObservedImage, import_job
from reconcilers.image.observe import observe_image
from reconcilers.image.status import image_status
from reconcilers.interface import Context, Diff, Inputs, Jobs, Sealer
from resources.kinds import Kind
from resources.meta import Key, Status
from resources.object import Object


class ImageReconciler:
    kind = Kind.IMAGE

    def __init__(
        self,
        images: Images,
        jobs: Jobs,
        inputs: Inputs,
        *,
        sealer: Sealer,
        platform: str,
        now: Callable[[], datetime],
    ) -> None:
        """`platform`: the host's, for images that name none."""
        self._images = images
        self._jobs = jobs
        self._inputs = inputs
        self._platform = platform
        self._asks = Asks()
        self._acts = ImageActs(images, jobs, inputs, sealer, self._asks, now)

    def refresh(self, key: Key, *, ask: bool) -> None:
        """An apply has come by: a pull that failed is begun again at once. With `ask` it names the object itself, which
        has the registry asked where it says `pull: always`."""
        if ask:
            self._asks.add(key.uid)
        state = self._jobs.state(import_job(key.uid))
        if state is not None and state.error is not None and not state.running:
            self._jobs.forget(import_job(key.uid))

    def observe(self, key: Key, desired: Object | None, context: Context) -> ObservedImage:  # noqa: ARG002
        return observe_image(
            key,
            desired,
            images=self._images,
            jobs=self._jobs,
            inputs=self._inputs,
            host_platform=self._platform,
            import_work=self._acts.pulls.work(key.uid),
            ask=self._asks.get(key.uid),
            abandoned=self._acts.pulls.abandoned(key.uid),
            pulled=self._acts.pulls.pulled(key.uid),
        )

    def diff(self, desired: Object | None, observed: ObservedImage, context: Context) -> Diff[ImageAction]:
        return decide(desired, observed, context).diff

    def act(self, action: ImageAction) -> None:
        self._acts.act(action)

    def status(self, desired: Object, observed: ObservedImage, context: Context) -> Status:
        return image_status(desired, observed, context)

    def known(self) -> list[Key]:
        records = (name for name, _ in self._images.names().list() if name.startswith("uid:"))
        return [Key(kind=Kind.IMAGE, uid=name.removeprefix("uid:")) for name in records]

    def inputs_needed(self, desired: Object, observed: ObservedImage) -> frozenset[str]:
        """Digests of the inputs that have to be here for it; none once the image has been made."""
        return inputs_needed(desired, observed)

    def importing(self) -> AbstractContextManager[None]:
        """For who brings content besides Images: no prune while it lasts, until a name keeps what has come."""
        return self._acts.between_imports()

    def prune(self) -> int:
        """Delete content and snapshots no name needs; return the bytes freed. Raises: Unavailable during an import."""
        return self._acts.prune()
