"""From texts to manifests: parse, fill variables in, normalise, decode, check (PURE).

Every problem of every document is told in one run. What only the store can tell (does a reference lead anywhere) is
admission's; `dangling` is for those who have no store, and for the part of it that is the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from manifests.checks import metadata_flaws, spec_flaws
from manifests.decode import Decoder, Read, in_words
from manifests.interface import Loaded, Located, Options, Text
from manifests.needs import needs
from manifests.node import Entry, MapNode, Node, Scalar, as_written, describe, position_at, position_of
from manifests.normalize import Normalizer
from manifests.parse import parse
from manifests.problems import Full, Position, Problem, Report, in_order, shown
from manifests.shapes import Form, form
from manifests.suggest import TOP, list_words, suggestion
from manifests.supported import refused
from manifests.variables import Variables
from resources import paths
from resources.errors import InvalidArgument
from resources.kinds import API_VERSION, SUPPORTED, Kind
from resources.meta import NAME, Metadata, Ref
from resources.object import SPECS, Manifest
from resources.references import Reference, references

_COMPOSE = (
    "this is a Compose file, which is not read: write a document for each "
    f"{list_words(tuple(kind.lower() for kind in SUPPORTED))}, "
    f"with apiVersion: {API_VERSION} and its kind"
)
_COMPOSE_KEYS = ("services", "networks", "volumes", "secrets", "configs")


def load(texts: Sequence[Text], options: Options | None = None) -> Loaded:
    """Raises: InvalidArgument when the namespace of the options is none; never for what the texts hold."""
    options = options or Options()
    if NAME.fullmatch(options.namespace) is None:
        raise InvalidArgument(
            f"{shown(options.namespace)} is not a namespace",
            hint="a letter or digit, then up to 127 letters, digits, '_', '.' or '-'",
        )
    return _Loading(options).load(texts)


def dangling(loaded: Loaded, known: Callable[[Ref], bool], *, warning: bool = True) -> tuple[Problem, ...]:
    """References that lead to nothing in the input and nothing `known`; and keys that a Secret or Config of the input
    does not have, which is an error in any case."""
    by_ref = {located.manifest.ref: located.manifest for located in loaded.manifests}
    names: dict[Kind, list[str]] = {}
    for ref in by_ref:
        names.setdefault(ref.kind, []).append(ref.name)
    report = Report()
    try:
        for located in loaded.manifests:
            for reference in located.references:
                wanted = reference.target
                if wanted in by_ref:
                    report.extend(_key_missing(located, reference, by_ref[wanted]))
                elif not reference.implied and not known(wanted):
                    where = "in this input" if warning else "in this input and none in the store"
                    message = f"there is no {wanted} {where}{suggestion(wanted.name, names.get(wanted.kind, ()))}"
                    report.extend([Problem(located.where(reference.path), reference.path, message, warning)])
    except Full:
        pass
    return tuple(report.problems)


def _key_missing(located: Located, reference: Reference, target: Manifest) -> Iterator[Problem]:
    if reference.key is not None and reference.key not in target.spec.key_names:
        # The key stands beside the name of its Secret or Config.
        path = paths.joined((*list(paths.split(reference.path))[:-1], "key"))
        guess = suggestion(reference.key, target.spec.key_names)
        message = f"{reference.target} has no key {shown(reference.key)}{guess}"
        yield Problem(located.where(path), path, message)


class _Loading:
    def __init__(self, options: Options) -> None:
        self._namespace = options.namespace
        self._report = Report()
        self._variables = Variables(options.variables)
        self._normalizer = Normalizer(self._report)
        self._decoder = Decoder(self._report)
        self._manifests: list[Located] = []
        self._places: dict[Ref, Position] = {}

    def load(self, texts: Sequence[Text]) -> Loaded:
        try:
            for text in texts:
                nodes, problems = parse(text.name, text.data)
                self._report.extend(problems)
                for node in nodes:
                    self._document(text.name, self._variables.fill(node))
        except Full:
            pass
        problems = _without_echo(self._report.problems, self._variables.problems)
        return Loaded(tuple(self._manifests), in_order(problems, [text.name for text in texts]))

    def _document(self, file: str, node: Node) -> None:
        kind = self._kind_of(node)
        if kind is None or not isinstance(node, MapNode):
            return
        before = len(self._report.problems)
        self._decoder.kind = kind
        document, metadata = self._read(node, "metadata", form(Metadata))
        document, spec = self._read(document, "spec", form(SPECS[kind]))
        self._beyond(kind, document, metadata, spec, before)
        if metadata.whole:
            namespace = metadata.data.get("namespace", self._namespace)
            self._once(Ref(kind=kind, namespace=namespace, name=metadata.data["name"]), document)
        if len(self._report.problems) == before:
            self._finish(file, kind, document, {"namespace": self._namespace, **metadata.data}, spec.data)

    def _kind_of(self, node: Node) -> Kind | None:
        """What has to be right for the rest of a document to be looked at."""
        add = self._report.add
        if not isinstance(node, MapNode):
            add(node.position, (), f"a document is a map with {', '.join(TOP)}, not {describe(node)}")
            return None
        compose = next((key for key in _COMPOSE_KEYS if key in node.entries), None)
        if compose is not None and not {"kind", "spec"} & node.entries.keys():
            add(position_of(node, (compose,)), (compose,), _COMPOSE)
            return None
        for key, entry in node.entries.items():
            if key == "status":
                add(entry.position, (key,), "is written by the engine; leave it out")
            elif key not in TOP:
                add(entry.position, (key,), f"there is no field {shown(key)}{suggestion(key, TOP)}")
        version = node.get("apiVersion")
        if version is None:
            add(node.position, ("apiVersion",), f"is missing; write apiVersion: {API_VERSION}")
        elif not isinstance(version, Scalar) or version.text != API_VERSION:
            what = f", not {shown(version.text)}" if isinstance(version, Scalar) else ""
            add(position_of(node, ("apiVersion",)), ("apiVersion",), f"must be {API_VERSION}{what}")
        return self._kind(node)

    def _kind(self, node: MapNode) -> Kind | None:
        found, at = node.get("kind"), position_of(node, ("kind",))
        if found is None:
            self._report.add(at, ("kind",), f"is missing; there are {list_words(SUPPORTED)}")
            return None
        text = found.text if isinstance(found, Scalar) else ""
        if text not in tuple(Kind):
            guess = suggestion(text, SUPPORTED) or f"; there are {list_words(SUPPORTED)}"
            what = (
                f"there is no kind {shown(text)}"
                if isinstance(found, Scalar)
                else f"must be a word, not {describe(found)}"
            )
            self._report.add(at, ("kind",), f"{what}{guess}")
            return None
        if text not in SUPPORTED:
            self._report.add(at, ("kind",), f"{text} is not supported by this version")
            return None
        return Kind(text)

    def _read(self, document: MapNode, key: str, shape: Form) -> tuple[MapNode, Read]:
        """The document with that part normalised, and what it says. A part that is not there is empty."""
        entry = document.entries.get(key) or Entry(document.position, MapNode({}, document.position))
        node = self._normalizer.normalize(entry.node, shape, (key,))
        document = MapNode({**document.entries, key: Entry(entry.position, node)}, document.position)
        read = self._decoder.read(node, shape, (key,), entry.position, top=True)
        return document, read or Read({}, shape.model.model_construct(), whole=False)

    def _beyond(self, kind: Kind, document: MapNode, metadata: Read, spec: Read, before: int) -> None:
        """What is well written and still cannot be had."""
        told = {problem.path for problem in self._report.problems[before:]}
        flaws = [*metadata_flaws(metadata.value)]
        flaws += [(("spec", *spec.in_tree(steps)), message) for steps, message in spec_flaws(kind, spec.value)]
        found = [(position_of(document, steps), steps, message) for steps, message in flaws]
        for position, steps, message in (*found, *refused(kind, document)):
            path = paths.joined(as_written(document, steps))
            if path not in told:
                told.add(path)
                self._report.extend([Problem(position, path, message)])

    def _once(self, ref: Ref, document: MapNode) -> None:
        position = position_of(document, ("metadata", "name"))
        first = self._places.setdefault(ref, position)
        if first is not position:
            inside = f" in the namespace {ref.namespace}" if ref.namespace != "default" else ""
            message = f"{ref} stands twice{inside}, first at {first}"
            self._report.add(position, ("metadata", "name"), message)

    def _finish(self, file: str, kind: Kind, document: MapNode, metadata: Any, data: Any) -> None:
        try:
            manifest = Manifest(kind=kind, metadata=Metadata.parse(metadata), spec=SPECS[kind].parse(data))
        except ValidationError as error:
            # The decoder finds all of it first; should a model know more, this is where it is told.
            for detail in error.errors(include_url=False, include_input=False):
                steps = ("spec", *detail["loc"])
                self._report.add(position_of(document, steps), as_written(document, steps), in_words(detail))
            return
        where = partial(position_at, document)
        found = references(kind, manifest.metadata.namespace, manifest.spec)
        self._manifests.append(Located(manifest, where, tuple(needs(file, manifest.spec)), found))


def _without_echo(problems: Iterable[Problem], first: Sequence[Problem]) -> list[Problem]:
    """A variable that could not be filled in also is a wrong value; that is told once."""
    places = {problem.position for problem in first}
    return [*first, *(problem for problem in problems if problem.position not in places)]
