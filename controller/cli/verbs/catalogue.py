"""Every verb there is, in the order help lists them, and those that are still to come; and the verbs that tell of all of them."""

from collections.abc import Mapping, Sequence

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Verb, flattened, nothing
from controller.cli.commandline.help import explanation, overview
from controller.cli.commandline.parsing import parse
from controller.cli.verbs import (
    apply,
    completion,
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


def help_(call: Call) -> int:
    found = parse([*call.arguments.words, "--help"], VERBS, LATER).verb
    call.session.out(explanation(VERBS[found]) if found else overview(GROUPS))
    return 0


def complete(call: Call) -> int:
    call.session.out(completion.script(call.arguments.words[0], VERBS))
    return 0


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
    "the engine": (
        Verb("help", "[COMMAND …]", "explain a command, or name them all", help_, (), (0, 2)),
        *system.VERBS,
        Verb("completion", "bash|zsh|fish", "a script that completes commands in a shell", complete, (), (1, 1)),
        *doctor.VERBS,
    ),
}
VERBS: Mapping[str, Verb] = flattened(verb for verbs in GROUPS.values() for verb in verbs)
LATER = (
    *("diff", "commit", "export", "history", "rollback", "why", "volume", "trace", "convert", "dump"),
    *("image push", "image build"),
)
