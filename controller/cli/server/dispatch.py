"""From an argument list to the verb that runs, and from what it raises to what the user reads."""

from collections.abc import Sequence

from controller.cli import words
from controller.cli.commandline import parsing
from controller.cli.commandline.arguments import Arguments, UsageError
from controller.cli.commandline.call import Call, kind_of
from controller.cli.commandline.help import explanation
from controller.cli.text.clean import clean
from controller.cli.verbs.catalogue import LATER, VERBS
from controller.interface import Backend, Session
from resources.errors import Cancelled, EngineError
from resources.kinds import SUPPORTED

USAGE, INTERRUPTED = 2, 130
_USAGE = {"plan": 1, **words.NO_PROCESS}
"""Of verbs where 2 says something else, or is a process' own."""


def parse(argv: Sequence[str]) -> Arguments:
    return parsing.parse(argv, VERBS, LATER)


def kinds_known(given: Arguments) -> bool:
    return all(kind_of(word) in SUPPORTED for word in VERBS[given.verb].kinds(given)) if given.verb else True


def run(session: Session, backend: Backend | None) -> int:
    """Run the session's command and return its exit code. Raises: what is no error of the user's or the engine's."""
    try:
        return _run(session, backend)
    except Cancelled:
        return INTERRUPTED
    except EngineError as error:
        session.err(complaint(error))
        return failure(error, words.scan(session.argv).verb)
    except ExceptionGroup as group:
        known, unknown = group.split(EngineError)
        if known is not None:
            session.err("".join(complaint(error) for error in _leaves(known)))
        if unknown is not None:
            raise unknown from None
        return words.NO_PROCESS.get(words.scan(session.argv).verb, 1)


def failure(error: EngineError, verb: str) -> int:
    """The exit code."""
    return _USAGE.get(verb, USAGE) if isinstance(error, UsageError) else words.NO_PROCESS.get(verb, 1)


def complaint(error: BaseException) -> str:
    problems = getattr(error, "problems", None)
    if problems:
        return "".join(f"{clean(str(problem))}\n" for problem in problems)
    return f"lading: {clean(str(error))}\n"


def _leaves(group: BaseExceptionGroup[EngineError]) -> list[EngineError]:
    found: list[EngineError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _run(session: Session, backend: Backend | None) -> int:
    found = parse(session.argv)
    if found.on("no-color"):
        session.color = False
    verb = VERBS[found.verb or "help"]
    if found.on("help") and found.verb:
        session.out(explanation(verb))
        return 0
    return verb.run(Call(session, found, backend))
