"""Manifests and everything they name, read on the user's side: texts, variables, contents."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

from controller.admission.admit import Refused
from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Flag
from controller.cli.text.clean import clean
from controller.interface import Content, Session, Submission
from manifests.interface import Loaded, Need, NeedKind, Options, Text
from manifests.load import load
from manifests.problems import Problem
from resources.errors import Cancelled, EngineError, InvalidArgument

MAX_MANIFEST = 16 << 20
MAX_FILE = 1 << 20
"""Of a file whose content is kept in an object; as much as the store takes for one."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

FILES = Flag("file", "a manifest, a folder of them, or - for standard input", short="f", value="FILE", repeat=True)
VARIABLES = (
    Flag("var", "a variable for ${K} in the manifests", value="K=V", repeat=True),
    Flag("var-file", "a file of lines K=V", value="FILE", repeat=True),
    Flag("var-env", "take variables from the environment as well"),
)


def submissions(call: Call) -> tuple[Submission, ...]:
    """What the flags name, with all it needs. Raises: Refused with every problem found."""
    loaded = manifests(call)
    problems: list[Problem] = []
    reader = _Reader(call.session)
    found = []
    for located in loaded.manifests:
        contents: dict[str, Content] = {}
        for need in located.needs:
            try:
                contents[need.path] = reader.content(need)
            except Cancelled:
                raise
            except EngineError as error:
                problems.append(Problem(located.where(need.path), need.path, str(error)))
        found.append(Submission(located, contents))
    if problems:
        raise Refused(problems)
    return tuple(found)


def manifests(call: Call) -> Loaded:
    """Loaded and without errors; warnings have been shown. Raises: Refused, InvalidArgument when there are none."""
    loaded = load(texts(call), Options(call.namespace, variables(call)))
    if loaded.failed:
        raise Refused(loaded.problems)
    for problem in loaded.problems:
        call.note(str(problem))
    # To prune is also to say that nothing of the owner's is left.
    if not loaded.manifests and not call.arguments.on("prune"):
        raise InvalidArgument(f"there are no manifests in {', '.join(call.arguments.many('file'))[:200]}")
    return loaded


def texts(call: Call) -> Sequence[Text]:
    paths = call.arguments.many("file")
    if not paths:
        raise InvalidArgument("which manifests?", hint="-f FILE, a folder, or - for standard input")
    names = dict.fromkeys(name for path in paths for name in call.session.find(path))
    found, left = [], MAX_MANIFEST
    for name in names:
        found.append(Text(name, call.session.read(name, left)))
        left -= len(found[-1].data)
    return found


def variables(call: Call) -> Mapping[str, str]:
    """Flags win over files, files over the environment."""
    found: dict[str, str] = {}
    if call.arguments.on("var-env"):
        found |= call.session.variables()
    for path in call.arguments.many("var-file"):
        text = call.session.read(path, MAX_FILE).decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                found |= _pair(line.strip(), f"{path}:{number}")
    for pair in call.arguments.many("var"):
        found |= _pair(pair, "--var")
    return found


def send(call: Call, submitted: Sequence[Submission]) -> None:
    """Send the large content that the engine does not have."""
    wanted = call.backend.wanted(submitted)
    for submission in submitted:
        for need in submission.located.needs:
            content = submission.contents.get(need.path)
            if content is None or content.data is not None or content.digest not in wanted:
                continue
            wanted -= {content.digest}
            _send(call, need.value, content)


def _send(call: Call, path: str, content: Content) -> None:
    shown = call.session.stdout_tty and content.size > 8 << 20
    sent = told = 0
    chunks = call.session.send(path)
    if not shown:
        call.backend.uploads.receive(content.digest, content.size, chunks)
        return

    def counted() -> Iterator[bytes]:
        nonlocal sent, told
        for chunk in chunks:
            sent += len(chunk)
            percent = 100 * sent // max(content.size, 1)
            if percent > told:
                told = percent
                call.session.err(f"\r\x1b[Ksending {clean(path)} {percent}%")
            yield chunk

    try:
        call.backend.uploads.receive(content.digest, content.size, counted())
    finally:
        call.session.err("\r\x1b[K")


class _Reader:
    """Reads each file once, however often it is named."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[tuple[NeedKind, str], Content] = {}

    def content(self, need: Need) -> Content:
        key = need.kind, need.value
        if key not in self._known:
            self._known[key] = self._read(need)
        return self._known[key]

    def _read(self, need: Need) -> Content:
        if need.kind is NeedKind.UPLOAD:
            return self._session.digest(need.value)
        if need.kind is NeedKind.FILE:
            return content(self._session.read(need.value, MAX_FILE))
        value = self._session.variable(need.value)
        if value is None:
            raise InvalidArgument(f"the environment variable {need.value} is not set")
        return content(value.encode("utf-8", "surrogateescape"))


def content(data: bytes) -> Content:
    return Content(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data)


def _pair(text: str, where: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or _NAME.fullmatch(name) is None:
        raise InvalidArgument(f"{where}: {text[:60]!r} is not of the form K=V")
    return {name: value}
