"""The user's files as a command sees them: over a real socket, the client a process of its own."""

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.cli.commandline.call import Call
from controller.cli.server.session import RemoteSession
from resources.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from tests.unit.controller.cli.clients import call

AddVerb = Callable[[Callable[[Call], int]], None]


def test_files_are_the_clients(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a.yaml").write_bytes(b"a: 1")
    (tmp_path / "below/b.json").write_bytes(b"{}")
    (tmp_path / "below/ignored.txt").write_bytes(b"")
    (tmp_path / "large").write_bytes(bytes(range(256)) * 8000)
    seen: list[Any] = []

    def reads(call: Call) -> int:
        session = call.session
        seen.append(session.find("."))
        seen.append(session.read("a.yaml", 100))
        seen.append(session.read("-", 1 << 20))
        content = session.digest("large")
        seen.append(content)
        seen.append(b"".join(session.send("large")) == bytes(range(256)) * 8000)
        session.write("new", b"n" * 700_000)
        for path, limit in (("nothing", 5), ("a.yaml", 3), ("below", 5), ("below/nothing.yaml", 5)):
            try:
                session.read(path, limit)
            except (NotFound, ResourceExhausted, InvalidArgument) as error:
                seen.append(type(error))
        return 0

    verb(reads)
    answer = call(server, "reads", cwd=tmp_path, input=b"from a pipe" * 50_000)
    assert answer.returncode == 0, answer.stderr
    assert seen[0] == ["./a.yaml", "./below/b.json"]
    assert seen[1:3] == [b"a: 1", b"from a pipe" * 50_000]
    assert (seen[3].size, len(seen[3].digest), seen[4]) == (256 * 8000, 71, True)
    assert seen[5:] == [NotFound, ResourceExhausted, InvalidArgument, NotFound]
    assert (tmp_path / "new").read_bytes() == b"n" * 700_000
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_pipes_and_devices(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    said: list[str] = []
    read: list[bytes] = []

    def reads(call: Call) -> int:
        session = call.session
        for look in (
            lambda: session.read("pipe", 100),
            lambda: session.digest("pipe"),
            lambda: session.digest("/dev/zero"),
        ):
            try:
                look()
            except InvalidArgument as error:
                said.append(error.message)
        read.append(session.read("/dev/stdin", 100))
        return 0

    verb(reads)
    answer = call(server, "reads", cwd=tmp_path, input=b"of a pipe")
    assert answer.returncode == 0, answer.stderr
    assert said == [
        "pipe: nothing comes out of this pipe",
        "pipe: neither a file nor a folder",
        "/dev/zero: neither a file nor a folder",
    ]
    assert read == [b"of a pipe"]


def test_a_folder_is_the_same_bytes_each_time_and_others_when_it_changed(
    server: Path, verb: AddVerb, tmp_path: Path
) -> None:
    for number in range(20):
        (tmp_path / f"f{number}").write_text(str(number))
    seen = []

    def digests(call: Call) -> int:
        seen.append((call.session.digest(str(tmp_path)), b"".join(call.session.send(str(tmp_path)))))
        return 0

    verb(digests)
    for change in (None, None, "more"):
        if change:
            (tmp_path / "f3").write_text(change)
        assert call(server, "digests").returncode == 0
    assert seen[0] == seen[1] != seen[2]
    assert len(seen[0][1]) == seen[0][0].size


def test_a_file_that_has_not_changed_is_not_read_again(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(b"one" * 1000)
    seen = []

    def digests(call: Call) -> int:
        seen.append(call.session.digest(str(archive)).digest)
        call.session.out(str(len(reads)))
        return 0

    reads: list[str] = []
    ask = RemoteSession._ask

    def counted(session: RemoteSession, *fields: str) -> list[bytes]:
        reads.extend(fields[:1] if fields[0] == "digest" else ())
        return ask(session, *fields)

    verb(digests)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RemoteSession, "_ask", counted)
        # What changed a moment ago may change again in the same tick, and is not remembered.
        assert [call(server, "digests").stdout for _ in range(2)] == [b"1", b"2"]
        patch.setattr("controller.cli.server.digests._GRAIN", 0)
        assert [call(server, "digests").stdout for _ in range(3)] == [b"3"] * 3
        archive.write_bytes(b"two" * 1000)
        assert [call(server, "digests").stdout for _ in range(2)] == [b"4", b"4"]
    assert len(set(seen[:5])) == 1 != len(set(seen))


def test_what_cannot_be_written_stops_the_sending(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    made = []

    def sends(call: Call) -> int:
        def chunks() -> Any:
            for number in range(500):
                made.append(number)
                yield b"x" * 65536

        with pytest.raises(NotFound):
            call.session.receive(str(tmp_path / "nowhere/deep"), chunks())
        call.session.out("and on it goes\n")
        return 0

    verb(sends)
    answer = call(server, "sends")
    assert (answer.returncode, answer.stdout) == (0, b"and on it goes\n")
    assert len(made) < 500


def test_content_that_is_cut_short_leaves_nothing(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    def halves(call: Call) -> int:
        def chunks() -> Any:
            yield b"x" * 100_000
            raise FailedPrecondition("the other half is gone")

        call.session.receive(str(tmp_path / "new"), chunks())
        return 0

    verb(halves)
    answer = call(server, "halves")
    assert (answer.returncode, answer.stderr) == (1, b"lading: the other half is gone\n")
    assert list(tmp_path.iterdir()) == []


def test_a_tar_is_taken_apart_or_passed_on(server: Path, verb: AddVerb, tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_bytes(b"content" * 100_000)
    (tmp_path / "tree/link").symlink_to("deep/file")
    (tmp_path / "there").mkdir()

    def gathered(call: Call) -> int:
        source, *targets = call.arguments.words
        data = b"".join(call.session.pack(source, name="named"))
        for target in targets:
            call.session.receive(target, iter([data[:1000], data[1000:]]))
        return 0

    verb(gathered)
    answer = call(server, "gathered", "tree", "there", "other", "-", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    for copy in (tmp_path / "there/named", tmp_path / "other"):
        assert (copy / "deep/file").read_bytes() == b"content" * 100_000
        assert (copy / "link").readlink() == Path("deep/file")
    with tarfile.open(fileobj=io.BytesIO(answer.stdout)) as archive:
        assert archive.getnames() == ["named", "named/deep", "named/deep/file", "named/link"]
    answer = call(server, "gathered", "nothing", "there", cwd=tmp_path)
    assert answer.stderr == b"lading: nothing: no such file or directory\n"
