"""Say how a Volume stands (PURE)."""

from reconcilers.interface import Context
from reconcilers.volume.diff import decide, shown_size
from reconcilers.volume.model import ObservedVolume
from resources.meta import Status
from resources.object import Object
from resources.scalars import format_mode


def volume_status(desired: Object, observed: ObservedVolume, context: Context) -> Status:
    job = observed.populating
    progress = {"what": job.what, "done": job.done, "total": job.total} if job and job.running else None
    return decide(desired, observed, context).status(desired, context, progress=progress, **_known(observed))


def _known(observed: ObservedVolume) -> dict[str, object]:
    state = observed.state
    if state is None:
        return {}
    return {
        "driver": observed.driver,
        "path": str(state.path),
        "size": shown_size(state.size),
        "owner": {"uid": state.uid, "gid": state.gid, "mode": format_mode(state.mode)},
        "populated": state.populated,
        "released": state.released or None,
    }
