"""How verbs are declared, with their flags (PURE). A verb is declared once; parsing, `--help`, completion and "did you mean" all
read the declaration.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from controller.cli.commandline.arguments import Arguments
from controller.cli.commandline.call import Call
from resources.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Flag:
    name: str
    help: str
    short: str = ""
    value: str = ""
    """What it takes, as help shows it; "" for a switch."""
    repeat: bool = False
    optional: bool = False
    """The value may be left out, and needs a `=`."""
    choices: tuple[str, ...] = ()
    later: bool = False
    """Of a later version: refused by name, and not in help."""


@dataclass(frozen=True, slots=True)
class Verb:
    name: str
    usage: str
    summary: str
    run: Callable[[Call], int]
    flags: tuple[Flag, ...] = ()
    words: tuple[int, int] = (0, 0)
    """How many words beside flags, at least and at most."""
    command: bool = False
    """The words after the first are a command, with flags of its own."""
    text: str = ""
    """What there is to know besides; for `--help`."""
    below: "tuple[Verb, ...]" = ()
    """It does nothing itself, but takes one of these, which are named in full: `image pull`."""
    check: Callable[[Arguments], None] | None = None
    """What cannot be said by its flags one by one. Raises: UsageError."""
    kinds: Callable[[Arguments], Iterable[str]] = lambda _: ()
    """Those of its words that are to be kinds of object."""


def flattened(verbs: Iterable[Verb]) -> dict[str, Verb]:
    """By their names, those below others too."""
    return {one.name: one for verb in verbs for one in (verb, *verb.below)}


def named_kinds(given: Arguments) -> Iterator[str]:
    """Of words that are `NAME` or `KIND/NAME`."""
    for word in given.words:
        kind, slash, _ = word.partition("/")
        if slash:
            yield kind


def nothing(_: Call) -> int:
    """What a verb with others below does: nobody gets there."""
    raise InvalidArgument("this takes another word")


GLOBALS = (
    Flag("namespace", "isolates names (default: default)", short="n", value="NAME"),
    Flag("root", "where the engine keeps its state (default: /var/lib/lading)", value="DIR"),
    Flag("run-root", "where it keeps what a reboot may take (default: /run/lading)", value="DIR"),
    Flag("verbose", "say more", short="v"),
    Flag("no-color", "no color on a terminal"),
    Flag("help", "explain the command", short="h"),
)
MANY = 1_000_000
