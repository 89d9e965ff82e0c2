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
    image,
    image_content,
    lifecycle,
    login,
    logs,
    network,
    streams,
    system,
    usage,
    validate,
)
from controller.cli.arguments import Verb, flattened, nothing

GROUPS: Mapping[str, Sequence[Verb]] = {
    "describe what should be there": (*apply.VERBS, *validate.VERBS, *delete.VERBS),
    "look": (*get.VERBS, *describe.VERBS, *graph.VERBS, *events.VERBS, *usage.VERBS, image.DF),
    "containers": (*lifecycle.VERBS, *logs.VERBS, *streams.VERBS, *cp.VERBS),
    "images and networks": (
        Verb(
            "image",
            "COMMAND …",
            "what there is of images, whoever asks for them: pull, list, tag, save, load, remove",
            nothing,
            below=(*image.VERBS, *image_content.VERBS),
        ),
        Verb(
            "network",
            "COMMAND …",
            "networks with who is on them; connect and disconnect",
            nothing,
            below=network.VERBS,
        ),
        *login.VERBS,
    ),
    "the engine": (*system.VERBS, *doctor.VERBS),
}
VERBS: Mapping[str, Verb] = flattened(verb for verbs in GROUPS.values() for verb in verbs)
LATER = (
    *("diff", "commit", "export", "history", "rollback", "why", "volume", "trace", "convert", "dump"),
    *("image push", "image build"),
)
