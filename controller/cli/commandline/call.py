"""One command under way: its arguments, the user's side of it, and the engine; and the words users name objects by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from controller.cli.commandline.arguments import Arguments
from controller.cli.commandline.elsewhere import KINDS
from controller.cli.text.clean import clean
from controller.interface import Backend, Session
from resources.errors import FailedPrecondition, InvalidArgument, NotFound
from resources.kinds import NAMESPACED, SUPPORTED, Kind, parse_kind
from resources.meta import NAME, Ref
from resources.object import Object
from resources.scalars import parse_duration

_SHORT = {
    "c": Kind.CONTAINER,
    "ctr": Kind.CONTAINER,
    "img": Kind.IMAGE,
    "net": Kind.NETWORK,
    "vol": Kind.VOLUME,
    "sec": Kind.SECRET,
    "cfg": Kind.CONFIG,
}


@dataclass(frozen=True, slots=True)
class Call:
    session: Session
    arguments: Arguments
    engine: Backend | None

    @property
    def backend(self) -> Backend:
        if self.engine is None:
            raise FailedPrecondition("no engine runs here", hint="`lading serve` is one")
        return self.engine

    @property
    def namespace(self) -> str:
        name = self.arguments.text("namespace", "default")
        if NAME.fullmatch(name) is None:
            raise InvalidArgument(f"--namespace {name[:80]!r} is not a name")
        return name

    def line(self, text: str = "") -> None:
        """A line for people. What it is made of may be hostile: a terminal gets nothing it would obey."""
        self.session.out((clean(text) if self.session.stdout_tty else text) + "\n")

    def note(self, text: str) -> None:
        self.session.err(clean(text) + "\n")

    def ref(self, word: str) -> Ref:
        """`NAME` or `KIND/NAME`."""
        kind, slash, name = word.partition("/")
        if not slash:
            return Ref(kind=Kind.CONTAINER, namespace=self.namespace, name=self._name(word))
        return Ref(kind=self.kind(kind), namespace=self.namespace, name=self._name(name))

    def container(self, word: str) -> Ref:
        ref = self.ref(word)
        if ref.kind is not Kind.CONTAINER:
            raise InvalidArgument(f"{ref} is not a container")
        return ref

    def kind(self, word: str) -> Kind:
        kind = kind_of(word)
        if kind is None:
            raise InvalidArgument(f"there is no kind {word[:60]!r}", hint=self._meant(word))
        if kind not in SUPPORTED:
            raise InvalidArgument(f"objects of kind {kind} come in a later version")
        return kind

    def _meant(self, word: str) -> str:
        """An object of that name, a kind nearly of that name, or all kinds."""
        names = [known.lower() for known in SUPPORTED]
        items = self.engine.objects.list(None, self.namespace) if self.engine else ()
        ref = next((item.ref for item in items if item.metadata.name == word), None)
        if ref is None and word.lower() in KINDS:
            return KINDS[word.lower()]
        near = [str(ref)] if ref else get_close_matches(word.lower(), names, 1, 0.6)
        return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"

    def found(self, ref: Ref) -> Object:
        item = self.backend.objects.find(ref)
        if item is None:
            where = f" in namespace {ref.namespace}" if NAMESPACED[ref.kind] else ""
            raise NotFound(f"there is no {ref}{where}", hint=self._those(ref))
        return item

    def _those(self, ref: Ref) -> str:
        if self.arguments.verb == "logs" and ref.namespace.isdecimal():
            return f"-n is the namespace; `--tail {ref.namespace}` says how many lines"
        return f"`lading get {ref.kind.lower()}` lists those there are"

    def duration(self, flag: str, default: str) -> float:
        """Seconds."""
        text = self.arguments.text(flag, default)
        try:
            return parse_duration(text) / 1000
        except ValueError as error:
            raise InvalidArgument(f"--{flag}: {error}") from error

    def moment(self, flag: str) -> datetime | None:
        """`10m` ago, or a time."""
        text = self.arguments.text(flag)
        if not text:
            return None
        try:
            return datetime.now(UTC) - timedelta(milliseconds=parse_duration(text))
        except (ValueError, OverflowError):
            pass
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise InvalidArgument(
                f"--{flag}: {text[:60]!r} is neither a duration such as 10m nor a time such as 2030-01-31T12:00:00Z"
            ) from error
        return moment if moment.tzinfo else moment.astimezone()

    def _name(self, name: str) -> str:
        if NAME.fullmatch(name) is None:
            raise InvalidArgument(f"{name[:80]!r} is not a name")
        return name


def kind_of(word: str) -> Kind | None:
    """Supported or not, by its name or a short one."""
    return _SHORT.get(word.lower()) or parse_kind(word)


def selected(item: Object, selectors: Sequence[str]) -> bool:
    """Whether it has every label asked for: `app=shop`, or `app` with any value."""
    labels = item.metadata.labels
    for selector in selectors:
        for term in selector.split(","):
            name, equals, value = term.partition("=")
            if name not in labels or (equals and labels[name] != value):
                return False
    return True
