"""image pull, ls, inspect, history, tag, rm, prune, and df: what is here, whoever asked for it."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import MANY, Flag, Verb
from controller.cli.progress.transfer import Transfer
from controller.cli.text.table import table
from controller.images.interface import Removed, StoredImage
from controller.views import age, human_size
from resources.errors import NotFound, Unavailable
from resources.image_reference import DEFAULT_DOMAIN
from resources.kinds import Kind
from resources.meta import NAME, Ref

PLATFORM = Flag("platform", "instead of the host's", value="OS/ARCH")
OUTPUT = Flag("output", "how to print", short="o", value="FORM", choices=("text", "json"))
QUIET = Flag("quiet", "nothing on the way, and only the ID", short="q")
FORCE = Flag("force", "although objects ask for it", short="f")
_FORMS = ("table", "wide", "json", "name")
_SHOWN_USERS = 3
_SHOWN_STEP = 60
_OFFICIAL = f"{DEFAULT_DOMAIN}/library/"
_WHAT_NEXT = """look whether it runs and can be reached from here, and try again: nothing that has come is lost; mirrors, plain \
HTTP and certificates are `registries` in settings.yaml, see docs/commands.md"""
_FRACTION = re.compile(r"(\.[0-9]{6})[0-9]+")


def pull(call: Call) -> int:
    for word in call.arguments.words:
        transfer = Transfer(call, word)
        try:
            image = call.backend.images.pull(word, platform=call.arguments.text("platform"), progress=transfer.progress)
        except Unavailable as error:
            raise unavailable(error) from error
        finally:
            transfer.end()
        tell(call, "pulled", image)
    return 0


def unavailable(error: Unavailable) -> Unavailable:
    """With what to do about a registry that cannot be asked, where the error says nothing itself."""
    return Unavailable(error.message, hint=error.hint or _WHAT_NEXT)


def tell(call: Call, event: str, image: StoredImage) -> None:
    """What came of it."""
    if call.arguments.text("output") == "json":
        call.session.out(json.dumps({"event": event, **as_json(image)}) + "\n")
    elif call.arguments.on("quiet"):
        call.line(image.id)
    else:
        names = ", ".join(map(familiar, image.names)) or "an image without a name"
        call.line(f"{names}  {image.id[7:19]}  {human_size(image.size)}")


def ls(call: Call) -> int:
    images, form = call.backend.images.stored(unnamed=call.arguments.on("all")), call.arguments.text("output", "table")
    if form == "json":
        call.session.out(json.dumps([as_json(image) for image in images], indent=2) + "\n")
    elif form == "name":
        for name in (name for image in images for name in image.names):
            call.line(familiar(name))
    elif not images:
        call.note("no images")
    else:
        call.session.out(_table(call, [(name, image) for image in images for name in image.names or ("",)]))
    return 0


def _table(call: Call, rows: list[tuple[str, StoredImage]]) -> str:
    wide, now = call.arguments.text("output") == "wide", datetime.now(UTC)
    headings = ["NAME", "TAG", "ID", "CREATED", "SIZE", *(["PLATFORM", "DIGEST"] if wide else []), "USED BY"]
    cells = []
    for name, image in rows:
        repository, tag = _split(name)
        more = [image.platform, image.digest] if wide else []
        id_, size = image.id if wide else image.id[7:19], human_size(image.size)
        cells.append([repository, tag, id_, since(image.created, now), size, *more, _users(image, wide=wide)])
    return table(headings, cells, columns=call.session.columns if call.session.stdout_tty and not wide else 0)


def _split(name: str) -> tuple[str, str]:
    repository, at, digest = name.partition("@")
    head, slash, tail = repository.rpartition("/")
    last, _, tag = tail.partition(":")
    shown = f"{digest[:19]}…" if at else ""
    return familiar(f"{head}{slash}{last}"), tag or shown


def familiar(name: str) -> str:
    """As people write it: without what Docker's users leave out."""
    return name.removeprefix(_OFFICIAL).removeprefix(f"{DEFAULT_DOMAIN}/")


def since(created: str, now: datetime) -> str:
    """How long ago the image says it was made; "" where it says no time, or one that can only be made up."""
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", created))
    except ValueError:
        return ""
    if moment.tzinfo is None or moment.year < 2000 or moment > now:
        return ""
    return age(moment, now)


def _users(image: StoredImage, *, wide: bool) -> str:
    # First what keeps it: the Image, which has the name where the image itself has none.
    shown = [str(ref) for ref in sorted(image.users, key=lambda ref: ref.kind is not Kind.IMAGE)]
    if len(shown) > _SHOWN_USERS and not wide:
        shown = [*shown[: _SHOWN_USERS - 1], f"{len(shown) - _SHOWN_USERS + 1} more"]
    return ", ".join(shown)


def as_json(image: StoredImage) -> Mapping[str, Any]:
    return {
        "id": image.id,
        "digest": image.digest,
        "names": list(image.names),
        "created": image.created,
        "size": image.size,
        "platform": image.platform,
        "usedBy": [_naming(ref) for ref in image.users],
    }


def _naming(ref: Ref) -> Mapping[str, str]:
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}


def inspect(call: Call) -> int:
    """JSON, whatever is asked: what of it is hostile is escaped there."""
    found = []
    for word in call.arguments.words:
        with _known(call, word):
            found.append(dict(call.backend.images.inspect(word)))
    call.session.out(json.dumps(found, indent=2) + "\n")
    return 0


@contextmanager
def _known(call: Call, word: str) -> Iterator[None]:
    """Who says the name of an Image object, whose image has another name or none, is told of the object."""
    try:
        yield
    except NotFound as error:
        name = word.removeprefix("image/")
        if NAME.fullmatch(name) is None or call.backend.objects.find(call.ref(f"image/{name}")) is None:
            raise
        hint = f"`lading describe image/{name}` tells of the object, `lading image ls` its image's ID"
        raise NotFound(error.message, hint=hint) from error


def history(call: Call) -> int:
    word = call.arguments.words[0]
    with _known(call, word):
        steps = call.backend.images.history(word)
    if call.arguments.text("output", "table") == "json":
        listed = [
            {"created": step.created, "createdBy": step.created_by, "size": step.size, "comment": step.comment}
            for step in steps
        ]
        call.session.out(json.dumps(listed, indent=2) + "\n")
        return 0
    wide, now = call.arguments.text("output") == "wide", datetime.now(UTC)
    rows = [
        [
            since(step.created, now),
            step.created_by if wide or len(step.created_by) <= _SHOWN_STEP else f"{step.created_by[:_SHOWN_STEP]}…",
            human_size(step.size),
            step.comment if wide else step.comment[:_SHOWN_STEP],
        ]
        for step in steps
    ]
    width = call.session.columns if call.session.stdout_tty and not wide else 0
    call.session.out(table(("CREATED", "CREATED BY", "SIZE", "COMMENT"), rows, columns=width))
    return 0


def tag(call: Call) -> int:
    word, name = call.arguments.words
    call.line(f"{word} is now {familiar(call.backend.images.tag(word, name))}")
    return 0


def rm(call: Call) -> int:
    for word in call.arguments.words:
        _tell_removed(call, call.backend.images.remove(word, force=call.arguments.on("force")))
    return 0


def prune(call: Call) -> int:
    _tell_removed(call, call.backend.images.prune(cached=call.arguments.on("all")))
    return 0


def _tell_removed(call: Call, removed: Removed) -> None:
    if call.arguments.text("output") == "json":
        call.session.out(json.dumps({"names": list(removed.names), "freed": removed.freed}) + "\n")
        return
    for name in removed.names:
        call.line(f"{familiar(name)} removed")
    if removed.freed is None:
        call.note("nothing was freed: images are being imported or unpacked; `lading image prune` frees it later")
    else:
        call.line(f"freed {human_size(removed.freed)}")


def df(call: Call) -> int:
    usage = call.backend.images.usage()
    if call.arguments.text("output") == "json":
        call.session.out(json.dumps({one.what: {"count": one.count, "size": one.size} for one in usage}) + "\n")
        return 0
    rows = [(one.what, str(one.count), human_size(one.size)) for one in usage]
    call.session.out(table(("WHAT", "COUNT", "SIZE"), rows))
    return 0


_NAMED = "An image is said by a name, or by the first four or more digits of its ID."
VERBS = (
    Verb(
        "image pull",
        "REF …",
        "fetch images from their registries",
        pull,
        (PLATFORM, QUIET, OUTPUT),
        (1, MANY),
        text="""Asks the registry anew; what is here already is not fetched again. What Ctrl-C or an error cuts off is
gone on with by the next pull. Who may pull what: `lading login`.

  lading image pull nginx:1.27          lading image pull registry.local:5000/shop@sha256:…""",
    ),
    Verb(
        "image ls",
        "",
        "list images, by name",
        ls,
        (
            Flag("all", "those without a name too: what `image prune` frees", short="a"),
            Flag("output", "how to print", short="o", value="FORM", choices=_FORMS),
        ),
    ),
    Verb("image inspect", "REF …", "all there is to know, as JSON", inspect, (), (1, MANY), text=_NAMED),
    Verb(
        "image history",
        "REF",
        "how it was made, the last step first",
        history,
        (Flag("output", "how to print", short="o", value="FORM", choices=("table", "wide", "json")),),
        (1, 1),
        text=_NAMED,
    ),
    Verb("image tag", "REF NEW", "give one more name", tag, (), (2, 2), text=_NAMED),
    Verb(
        "image rm",
        "REF …",
        "take names away, and free what nothing needs then",
        rm,
        (FORCE, OUTPUT),
        (1, MANY),
        text=f"""{_NAMED}
Names that a manifest gives (image/NAME) are changed there. What a container asks for is kept, unless --force is given:
then it is pulled again when the container is made anew.""",
    ),
    Verb(
        "image prune",
        "",
        "free content that no name needs",
        prune,
        (Flag("all", "with the names that no object uses", short="a"), OUTPUT),
    ),
)
DF = Verb("df", "", "what images take on the disk: content as it came, snapshots as unpacked", df, (OUTPUT,))
