"""What was asked for on a command line: the verb, its words and its flags (PURE)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resources.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Arguments:
    verb: str
    words: tuple[str, ...] = ()
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def on(self, name: str) -> bool:
        return name in self.flags

    def text(self, name: str, default: str = "") -> str:
        return self.flags[name][-1] if name in self.flags else default

    def many(self, name: str) -> Sequence[str]:
        return self.flags.get(name, ())


class UsageError(InvalidArgument):
    """The command line itself is wrong: no engine is needed to say so."""


class UnknownCommand(UsageError):
    """Not a command of ours, or not one yet."""
