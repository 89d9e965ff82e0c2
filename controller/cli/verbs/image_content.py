"""image save, load, import: images as archives, on their way to and from the user."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import MANY, Flag, Verb
from controller.cli.progress.transfer import Transfer
from controller.cli.verbs import image
from controller.images.interface import Form, Progress
from resources.errors import Cancelled, DataLoss, InvalidArgument

_ARCHIVE = "the archive"
"""What the engine calls it, which has another name for it."""
_EXPECTED = """expected is what `docker save` writes or an OCI layout, as a tar, plain or with gzip or zstd, or a layout's \
folder; `lading image import` takes root file systems"""
_EXPECTED_ROOT = "expected is a root file system: a tar, plain or with gzip or zstd, or a folder"


def save(call: Call) -> int:
    path = call.arguments.text("file", "-")
    if path == "-" and call.session.stdout_tty:
        raise InvalidArgument("an archive is nothing for a terminal", hint="-o FILE, or a pipe")
    form = cast(Form, call.arguments.text("format", "docker"))
    chunks = call.backend.images.save(call.arguments.words, form)
    if path != "-":
        call.session.write(path, chunks)
        return 0
    for chunk in chunks:
        if call.session.cancelled():
            raise Cancelled("interrupted")
        call.session.out(chunk)
    return 0


def load(call: Call) -> int:
    path, platform = call.arguments.text("input", "-"), call.arguments.text("platform")
    with _taken_in(call, path, _EXPECTED) as (chunks, progress):
        found = call.backend.images.load(chunks, platform=platform, progress=progress)
    for one in found:
        image.tell(call, "loaded", one)
    return 0


def import_(call: Call) -> int:
    path, *name = call.arguments.words
    platform = call.arguments.text("platform")
    with _taken_in(call, path, _EXPECTED_ROOT) as (chunks, progress):
        made = call.backend.images.import_rootfs(chunks, name="".join(name), platform=platform, progress=progress)
    image.tell(call, "imported", made)
    return 0


@contextmanager
def _taken_in(call: Call, path: str, expected: str) -> Iterator[tuple[Iterator[bytes], Progress]]:
    """What is wrong with the content is told of the file as the user knows it, with what is expected."""
    title = "standard input" if path == "-" else path
    chunks, transfer = _read(call, path), Transfer(call, title)
    try:
        yield chunks, transfer.progress
    except (InvalidArgument, DataLoss) as error:
        if not error.message.startswith(_ARCHIVE):
            raise
        hint = expected if not error.hint or "from:" in error.hint else error.hint
        raise type(error)(f"{title}: {error.message.removeprefix(f'{_ARCHIVE}: ')}", hint=hint) from error
    finally:
        transfer.end()


def _read(call: Call, path: str) -> Iterator[bytes]:
    if path == "-" and call.session.stdin_tty:
        raise InvalidArgument("an archive is nothing to type", hint="say a file, or use a pipe")
    return call.session.pack("-") if path == "-" else call.session.send(path)


VERBS = (
    Verb(
        "image save",
        "REF …",
        "write images as one archive",
        save,
        (
            Flag("file", "instead of standard output", short="o", value="FILE"),
            Flag("format", "docker (which OCI readers take too) or oci", value="FORM", choices=("docker", "oci")),
        ),
        (1, MANY),
        text="""What `docker load`, podman, skopeo and `lading image load` read. Blobs are in it as they came, compressed or not.

  lading image save nginx:1.27 -o nginx.tar          lading image save nginx redis | ssh other lading image load""",
    ),
    Verb(
        "image load",
        "[-i FILE]",
        "take in an archive of images, with the names it gives them",
        load,
        (
            Flag("input", "instead of standard input", short="i", value="FILE"),
            image.PLATFORM,
            image.QUIET,
            image.OUTPUT,
        ),
        text="Archives of `docker save` and OCI layouts, as tar, plain or with gzip or zstd; or a layout's folder.",
    ),
    Verb(
        "image import",
        "FILE|- [REF]",
        "make an image of a root file system: a tar or a folder",
        import_,
        (image.PLATFORM, image.QUIET, image.OUTPUT),
        (1, 2),
    ),
)
