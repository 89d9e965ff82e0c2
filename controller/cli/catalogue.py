"""Every verb there is, in the order help lists them, and those that are still to come."""

from collections.abc import Mapping, Sequence

from controller.cli import (
    apply,
    cp,
    delete,
    describe,
    doctor,
    events,
    get,
    graph,
    lifecycle,
    streams,
    system,
    usage,
    validate,
)
from controller.cli.arguments import Verb

GROUPS: Mapping[str, Sequence[Verb]] = {
    "describe what should be there": (*apply.VERBS, *validate.VERBS, *delete.VERBS),
    "look": (*get.VERBS, *describe.VERBS, *graph.VERBS, *events.VERBS, *usage.VERBS),
    "containers": (*lifecycle.VERBS, *streams.VERBS, *cp.VERBS),
    "the engine": (*system.VERBS, *doctor.VERBS),
}
VERBS: Mapping[str, Verb] = {verb.name: verb for verbs in GROUPS.values() for verb in verbs}
LATER = (
    *("diff", "commit", "export", "history", "rollback", "why", "image", "login", "logout", "df", "volume"),
    *("network", "trace", "convert", "dump"),
)
