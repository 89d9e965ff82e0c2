"""The command line's grammar: from words to the arguments of a verb (PURE).

Flags may stand anywhere, before the verb too where they are global; `--` ends them, and so does the command of an `exec`.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence

from controller.cli.commandline.arguments import Arguments, UnknownCommand, UsageError
from controller.cli.commandline.declarations import GLOBALS, Flag, Verb
from controller.cli.commandline.elsewhere import ELSEWHERE, FLAGS, WORDS
from resources.meta import NAME
from resources.scalars import parse_duration


def parse(argv: Sequence[str], verbs: Mapping[str, Verb], later: Sequence[str] = ()) -> Arguments:
    """Raises: UsageError, UnknownCommand among it, that says what was meant, perhaps."""
    parser = _Parser(verbs, later)
    parser.run(list(argv))
    return Arguments(parser.verb.name if parser.verb else "", tuple(parser.words), parser.flags)


class _Parser:
    def __init__(self, verbs: Mapping[str, Verb], later: Sequence[str]) -> None:
        self._verbs = verbs
        self._later = later
        self.verb: Verb | None = None
        self.words: list[str] = []
        self.flags: dict[str, list[str]] = {}

    def run(self, rest: list[str]) -> None:
        while rest:
            word = rest.pop(0)
            if word == "--":
                self.words += rest
                rest = []
            elif word.startswith("--"):
                self._long(word[2:], rest)
            elif len(word) > 1 and word.startswith("-"):
                self._cluster(word[1:], rest)
            elif self.verb is None or self.verb.below:
                self._begin(f"{self.verb.name} {word}" if self.verb else word)
            else:
                self.words.append(word)
                if self.verb.command and len(self.words) == 2:
                    self.words += rest
                    rest = []
        self._check()

    def _begin(self, word: str) -> None:
        if word in self._later:
            raise UnknownCommand(f"`lading {word}` comes in a later version", hint=ELSEWHERE.get(word, ""))
        if word not in self._verbs:
            group, _, last = word.rpartition(" ") if self.verb else ("", "", word)
            near = [name for name in self._verbs if name.rpartition(" ")[0] == group]
            hint = ELSEWHERE.get(word) or _nearest(last, near, group)
            raise UnknownCommand(f"there is no command {word[:60]!r}", hint=hint)
        self.verb = self._verbs[word]

    def _known(self) -> Iterator[Flag]:
        yield from self.verb.flags if self.verb else ()
        yield from GLOBALS

    def _long(self, text: str, rest: list[str]) -> None:
        name, equals, value = text.partition("=")
        flag = next((f for f in self._known() if f.name == name), None)
        if flag is None:
            names = {f"--{f.name}": f for f in self._known()}
            hint = self._elsewhere(f"--{name}") or _meant(f"--{name}", names, self._help())
            raise UsageError(f"there is no flag --{name[:60]}", hint=hint)
        if not flag.value and equals:
            raise UsageError(f"--{name} takes no value", hint=self._help())
        self._set(flag, value if equals else self._value(flag, rest))

    def _cluster(self, letters: str, rest: list[str]) -> None:
        for at, letter in enumerate(letters):
            flag = next((f for f in self._known() if f.short == letter), None)
            if flag is None:
                raise UsageError(f"there is no flag -{letter}", hint=self._elsewhere(f"-{letter}") or self._help())
            if flag.value and at + 1 < len(letters):
                self._set(flag, letters[at + 1 :].removeprefix("="))
                return
            self._set(flag, self._value(flag, rest))

    def _value(self, flag: Flag, rest: list[str]) -> str:
        if not flag.value or flag.optional:
            return ""
        if not rest:
            raise UsageError(f"{_shown(flag)} needs a value: {flag.value}", hint=self._help())
        return rest.pop(0)

    def _set(self, flag: Flag, value: str) -> None:
        if flag.choices and value not in flag.choices and not (flag.optional and not value):
            raise UsageError(f"--{flag.name} is one of {', '.join(flag.choices)}, not {value[:60]!r}")
        wrong = _wrong(flag, value)
        if wrong:
            raise UsageError(f"--{flag.name}{wrong}", hint=self._help())
        values = self.flags.setdefault(flag.name, [])
        if values and flag.value and not flag.repeat and values[-1] != value:
            hint = self._help()
            if flag.name == "namespace" and any(known.name == "tail" for known in self._known()):
                hint = "-n is the namespace; `--tail N` says how many lines"
            raise UsageError(f"--{flag.name} is given twice, with different values", hint=hint)
        values.append(value)

    def _check(self) -> None:
        if self.verb is None or "help" in self.flags:
            return
        if self.verb.below:
            names = ", ".join(verb.name.rpartition(" ")[2] for verb in self.verb.below)
            raise UsageError(f"lading {self.verb.name} takes one of {names}", hint=self._help())
        least, most = self.verb.words
        if not least <= len(self.words) <= most:
            what = "too few words;" if len(self.words) < least else f"what is {self.words[most][:60]!r} for?"
            hint = WORDS.get(self.verb.name) if len(self.words) > most else None
            usage = f"{what} usage: lading {self.verb.name} {self.verb.usage}".rstrip()
            raise UsageError(usage, hint=hint or self._help())
        if self.verb.check is not None:
            self.verb.check(Arguments(self.verb.name, tuple(self.words), self.flags))

    def _elsewhere(self, flag: str) -> str:
        return FLAGS.get((self.verb.name, flag), "") if self.verb else ""

    def _help(self) -> str:
        return f"see `lading {self.verb.name} --help`" if self.verb else "see `lading --help`"


def _wrong(flag: Flag, value: str) -> str:
    """What is wrong with a value, whatever is asked; "" when nothing is."""
    if flag.later:
        return " comes in a later version"
    if flag.value == "DURATION":
        try:
            parse_duration(value)
        except ValueError as error:
            return f": {error}"
    if flag.name == "namespace" and NAME.fullmatch(value) is None:
        return f" {value[:80]!r} is not a name"
    return ""


def _nearest(word: str, verbs: Sequence[str], group: str) -> str:
    """Only the last words of verbs are compared: what stands before them is right already."""
    names = {name.rpartition(" ")[2]: 0 for name in verbs}
    meant = _meant(word, names, f"lading {group} --help" if group else "lading --help")
    return meant.replace("did you mean ", f"did you mean {group} ") if group else meant


def _meant(word: str, known: Mapping[str, object], otherwise: str) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    return otherwise if otherwise.startswith("see") else f"see `{otherwise}`"


def _shown(flag: Flag) -> str:
    return f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
