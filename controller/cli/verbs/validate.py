"""validate: all that is to be said of manifests where no engine is: of the input by itself, and of the user's files."""

from collections.abc import Iterator
from datetime import UTC, datetime

from controller.admission.admit import Refused
from controller.admission.consistency import cycles
from controller.admission.host import Host
from controller.admission.networks import network_problems
from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Verb
from controller.cli.submission import reading
from controller.store.snapshot import Snapshot
from manifests.interface import Loaded, NeedKind
from manifests.load import dangling
from manifests.problems import Problem, in_order
from resources.errors import Cancelled, EngineError
from resources.meta import ObjectMeta
from resources.object import Object


def validate(call: Call) -> int:
    loaded = reading.manifests(call)
    after = _objects(loaded)
    located = {one.manifest.ref: one for one in loaded.manifests}
    problems = [*dangling(loaded, lambda _: False), *cycles(located, after)]
    problems += network_problems(located, Snapshot(), after, Host())
    problems += _files(call, loaded)
    ordered = in_order(problems, [one.where("").file for one in loaded.manifests])
    if any(not problem.warning for problem in ordered):
        raise Refused(ordered)
    for problem in ordered:
        call.note(str(problem))
    count = len(loaded.manifests)
    call.line(f"{count} {'manifest is' if count == 1 else 'manifests are'} valid")
    return 0


def _objects(loaded: Loaded) -> Snapshot:
    """The input as if it were all there is."""
    now = datetime.now(UTC)
    return Snapshot().replaced(
        Object(
            kind=one.manifest.kind,
            metadata=ObjectMeta(**one.manifest.metadata.model_dump(), uid=f"{number:032x}", creation_timestamp=now),
            spec=one.manifest.spec,
            effective=one.manifest.spec,
        )
        for number, one in enumerate(loaded.manifests)
    )


def _files(call: Call, loaded: Loaded) -> Iterator[Problem]:
    for one in loaded.manifests:
        for need in one.needs:
            if need.kind is NeedKind.VARIABLE:
                continue
            try:
                next(iter(call.session.send(need.value)), None)
            except Cancelled:
                raise
            except EngineError as error:
                yield Problem(one.where(need.path), need.path, str(error), warning=True)


VERBS = (
    Verb(
        "validate",
        "-f FILE …",
        "check manifests without an engine",
        validate,
        (reading.FILES, *reading.VARIABLES),
        text="""Prints every problem as file:line:column: field: what is wrong. What only an engine can tell, and
files that are not there, are warnings.""",
    ),
)
