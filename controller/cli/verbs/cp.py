"""cp: files into and out of a container, as tar streams that the receiving side takes apart."""

import posixpath

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Verb
from controller.cli.wire.chunks import reader
from resources.errors import InvalidArgument, NotFound
from resources.meta import Ref


def cp(call: Call) -> int:
    source, target = call.arguments.words
    inner_source, inner_target = _inside(call, source), _inside(call, target)
    if inner_source is not None and inner_target is None:
        return _copy_out(call, *inner_source, target)
    if inner_target is not None and inner_source is None:
        return _copy_in(call, source, *inner_target)
    raise InvalidArgument("one side is NAME:PATH, the other a path of yours", hint="write ./a:b for a file named a:b")


def _inside(call: Call, word: str) -> tuple[Ref, str] | None:
    name, colon, path = word.partition(":")
    if not colon or word.startswith((".", "/")):
        return None
    if not path:
        raise InvalidArgument(f"{word[:80]!r} names no path", hint="NAME:PATH, as in web:/etc/hosts")
    ref = call.container(name)
    call.found(ref)
    return ref, path


def _copy_out(call: Call, ref: Ref, path: str, target: str) -> int:
    operations = call.backend.operations
    if operations.stat(ref, path) is None:
        raise NotFound(f"there is no {path} in {ref}")
    chunks = operations.copy_out(ref, path)
    call.session.receive(target, chunks)
    return 0


def _copy_in(call: Call, source: str, ref: Ref, path: str) -> int:
    operations = call.backend.operations
    if operations.stat(ref, f"{path.rstrip('/')}/") is not None:  # a folder, or a link to one
        operations.copy_in(ref, path, reader(call.session.pack(source)))
        return 0
    folder, name = posixpath.split(path)
    if source == "-" or not name or operations.stat(ref, folder or "/") is None:
        raise NotFound(f"there is no folder {path if source == '-' else folder or path} in {ref}")
    operations.copy_in(ref, folder or "/", reader(call.session.pack(source, name=name)))
    return 0


VERBS = (
    Verb(
        "cp",
        "SOURCE TARGET",
        "copy files and folders into or out of a container",
        cp,
        (),
        (2, 2),
        text="""  lading cp web:/etc/nginx ./conf          lading cp site.conf web:/etc/nginx/conf.d/

Into a folder that is there, or under a new name. `-` is a tar on standard input or output.""",
    ),
)
