"""The life of the resolver process: killed, hung, replaced, flooded, and what is left of it then."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.network.names.interface import NAME_SERVER, MemberNames, SandboxNames
from resources.errors import Unavailable
from tests.integration.drivers.network.resolving import (
    HOST,
    World,
    question,
    until,
)

pytestmark = pytest.mark.host
FRONT = "n-front"
NXDOMAIN = 3


def test_what_is_broken_is_told_and_mended(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    assert wanted is not None
    for harm in ("delete table ip lading_names", "flush chain ip lading_names answers", "flush ruleset"):
        net.run("nft", harm, sandbox=web)
        assert net.names.get(web) is None
        net.names.set(wanted)
        assert net.names.get(web) == wanted
        assert net.ask(web, "web").addresses == ["10.0.1.2"]
    # A namespace of the same name that is another one.
    net.sandboxes.delete(web)
    assert net.names.get(web) is None
    assert web in net.names.list()
    net.sandboxes.create(web)
    assert net.names.get(web) is None
    net.names.set(wanted)
    assert net.names.get(web) == wanted
    assert net.ask(web, "web", tcp=True).addresses == ["10.0.1.2"]


def test_a_killed_process_goes_on_from_its_snapshot(net: World) -> None:
    ids = [net.sandbox(n, MemberNames(FRONT, (f"s{n}",), (f"10.0.1.{n}",))) for n in range(1, 21)]
    before = net.pid()
    client = net.socket(ids[0])
    client.connect((NAME_SERVER, 53))
    net.kill()
    net.sandboxes.delete(ids[5])
    assert net.names.get(ids[0]) is None
    gone = time.monotonic()
    net.sandbox(30, MemberNames(FRONT, ("s30",), ("10.0.1.30",)))
    assert time.monotonic() - gone < 2
    assert net.pid() != before
    client.send(question("s7"))  # the very socket of a client goes on
    assert client.recv(512)[-4:] == bytes((10, 0, 1, 7))
    assert set(net.names.list()) == {*ids, f"{30:064x}"} - {ids[5]}
    assert net.ask(ids[0], "s6").rcode == NXDOMAIN
    assert net.ask(ids[1], "s2", tcp=True).addresses == ["10.0.1.2"]


def test_a_message_of_an_engine_that_dies_half_way_changes_nothing(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    pid = net.pid()
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    engine = net.engine(
        "from drivers.network.names.framing import frame\n"
        "from drivers.network.names.connection import connect\n"
        "one = connect(client.folder)\n"
        "one.sendall(frame({'op': 'hello', 'version': 1})); one.recv(1000)\n"
        f"whole = frame({{'op': 'names.remove', 'id': {web!r}}})\n"
        "one.sendall(whole[:-1])\n"
        "print('half', flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    assert engine.stdout is not None
    assert engine.stdout.readline() == b"half\n"
    assert net.names.get(web) == wanted
    engine.kill()
    engine.wait()
    until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= descriptors)
    assert net.names.get(web) == wanted
    assert net.ask(web, "web").addresses == ["10.0.1.2"]
    assert net.pid() == pid


def test_a_process_that_hangs_is_replaced(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    assert wanted is not None
    os.kill(net.pid(), 19)
    with pytest.raises(Exception, match="did not answer"):
        net.names.get(web)
    assert net.names.get(web) is None
    net.start(wanted)
    assert net.ask(web, "web").addresses == ["10.0.1.2"]


@contextlib.contextmanager
def lock_held(net: World, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """By a process that is called so and does nothing."""
    script = (
        "import fcntl, sys, time; open('/proc/self/comm', 'w').write(sys.argv[2]); lock = open(sys.argv[1], 'w'); "
        "fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True); time.sleep(1000)"
    )
    words = [sys.executable, "-IS", "-c", script, str(net.run_root / "resolver" / "lock"), name]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_one_that_hangs_before_it_can_be_spoken_to_is_replaced(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    assert wanted is not None
    net.kill()
    with lock_held(net, "lading-resolver") as hung:
        net.start(wanted)
        assert hung.wait(5) == -signal.SIGKILL
    assert net.ask(web, "web").addresses == ["10.0.1.2"]
    net.kill()
    with lock_held(net, "lading-resolver") as hung:
        net.names.stop()
        assert hung.wait(5) == -signal.SIGKILL


def test_a_stranger_that_has_the_lock_is_named_and_lives(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    assert wanted is not None
    net.kill()
    with lock_held(net, "somebody") as stranger:
        with pytest.raises(Unavailable, match=f"resolver/lock: held by process {stranger.pid}, which does not answer"):
            net.start(wanted)
        assert stranger.poll() is None
    net.start(wanted)
    assert net.ask(web, "web").addresses == ["10.0.1.2"]


PLACES = ("", "lock", "log", "control.sock", ".control.sock.new", "snapshot", "snapshot/names", "snapshot/proxies")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["fifo", "folder", "file", "link"])
def test_whatever_lies_in_its_folder_is_in_nobodys_way(net: World, short_path: Path, place: str, kind: str) -> None:
    outside = short_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("{")
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    assert wanted is not None
    net.kill()
    path = net.run_root / "resolver" / place
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "a" / "b").mkdir(parents=True)
    elif kind == "link":
        path.symlink_to(outside)
    else:
        path.write_text("{")
    net.start(wanted)
    assert net.ask(web, "web").addresses == ["10.0.1.2"]
    assert (outside / "kept").exists()
    net.names.stop()
    assert not (net.run_root / "resolver").exists()


def test_a_process_whose_socket_was_removed_can_be_found_again(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted, pid = net.names.get(web), net.pid()
    assert wanted is not None
    net.client.close()
    (net.run_root / "resolver" / "control.sock").unlink()
    # Whoever starts another meanwhile waits for this one.
    net.start(replace(wanted, members=(MemberNames(FRONT, ("web",), ("10.0.1.3",)),)))
    assert net.pid() == pid
    assert net.ask(web, "web").addresses == ["10.0.1.3"]


def test_a_process_whose_folder_was_removed_ends(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted, pid = net.names.get(web), net.pid()
    assert wanted is not None
    ended = select.poll()
    process = os.pidfd_open(pid)
    ended.register(process, select.POLLIN)
    net.client.close()
    shutil.rmtree(net.run_root / "resolver")
    net.start(wanted)
    assert net.pid() != pid
    assert ended.poll(5000)
    os.close(process)
    assert net.names.get(web) == wanted
    assert net.ask(web, "web").addresses == ["10.0.1.2"]


def test_a_snapshot_that_was_tampered_with_is_in_nobodys_way(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted, snapshot = net.names.get(web), net.run_root / "resolver" / "snapshot"
    assert wanted is not None
    shutil.rmtree(snapshot)
    net.names.set(wanted)
    (snapshot / "names" / "zz").mkdir()
    (snapshot / "names" / "yy").write_bytes(b"\xff\0{")
    net.kill()
    net.start(wanted)
    assert net.names.list() == [web]
    assert net.ask(web, "web").addresses == ["10.0.1.2"]


def test_a_process_of_another_version_is_replaced(net: World, short_path: Path) -> None:
    tree = short_path / "old"
    here = Path(__file__).parents[4]
    for part in ("drivers/network/names", "drivers/kernel"):
        (tree / part).mkdir(parents=True)
        for module in (here / part).glob("*.py"):
            (tree / part / module.name).write_text(module.read_text().replace("VERSION = 2\n", "VERSION = 0\n"))
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    wanted = net.names.get(web)
    assert wanted is not None
    net.kill()
    old = ["python3", "-I", "-S", str(tree / "drivers/network/names/process.py"), str(net.run_root / "resolver"), "old"]
    assert net.run(*old, sandbox=HOST) == "ready"
    pid = net.pid()
    assert net.ask(web, "web").addresses == ["10.0.1.2"]
    assert net.inside(HOST, lambda: net.names.get(web)) == wanted
    assert net.pid() != pid
    assert net.ask(web, "web").addresses == ["10.0.1.2"]


def test_the_process_has_nothing_of_who_started_it(net: World) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    os.close(writer)
    assert os.read(reader, 1) == b""  # nobody else has it
    os.close(reader)
    process = Path(f"/proc/{net.pid()}")
    assert os.getsid(net.pid()) == net.pid()
    assert {os.readlink(process / "fd" / str(fd)) for fd in (0, 1, 2)} == {"/dev/null"}
    assert os.readlink(process / "cwd") == "/"
    environment = (process / "environ").read_bytes()
    assert b"LADING" not in environment
    assert (process / "comm").read_text() == "lading-resolver\n"
    assert os.listdir(process / "task") == [process.name]
    limits = next(line for line in (process / "limits").read_text().splitlines() if "open files" in line).split()
    assert limits[3] == limits[4]
    assert (net.run_root / "resolver").stat().st_mode & 0o777 == 0o700
    assert (net.run_root / "resolver" / "control.sock").stat().st_mode & 0o777 == 0o600
    assert net.memory() < 15 * 1024


def test_a_namespace_is_let_go_of(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))

    def sockets() -> int:
        return net.run("cat", "/proc/net/tcp", "/proc/net/udp", "/proc/net/netlink", sandbox=web).count("\n")

    held = sockets()
    net.names.remove(web)
    assert sockets() == held - 3
    net.names.remove(web)


def test_two_engines_that_start_it_at_once_share_one(net: World) -> None:
    ids = [f"{n:064x}" for n in range(1, 5)]
    for sandbox_id in ids:
        net.sandboxes.create(sandbox_id)
    engines = [
        net.engine(f"client.names.set(SandboxNames({one!r}, run_root / 'netns' / {one!r}, ()))\n") for one in ids
    ]
    assert [engine.wait(30) for engine in engines] == [0] * 4
    assert list(net.names.list()) == ids


def test_whatever_process_is_there_is_stopped(net: World) -> None:
    web = net.sandbox(1, MemberNames(FRONT, ("web",), ("10.0.1.2",)))
    net.kill()
    engine = net.engine(f"client.names.set(SandboxNames({web!r}, run_root / 'netns' / {web!r}, ()))\n")
    assert engine.wait(30) == 0
    process = os.pidfd_open(net.pid())
    net.names.stop()
    ended = select.poll()
    ended.register(process, select.POLLIN)
    assert ended.poll(0)
    os.close(process)
    assert not (net.run_root / "resolver").exists()


def test_three_hundred_sandboxes(net: World) -> None:
    for number in range(1, 301):
        net.sandboxes.create(f"{number:064x}")
    first = f"{1:064x}"
    net.start(SandboxNames(first, net.netns(first), ()))
    before = time.monotonic()
    for number in range(1, 301):
        sandbox_id = f"{number:064x}"
        members = (MemberNames(FRONT, (f"s{number}", "all"), (f"10.0.{number // 250}.{number % 250}",)),)
        net.names.set(SandboxNames(sandbox_id, net.netns(sandbox_id), members))
    assert time.monotonic() - before < 3
    assert net.memory() < 20 * 1024
    for number in (1, 150, 300):
        asked = net.ask(f"{number:064x}", f"s{301 - number}")
        assert len(asked.addresses) == 1
    assert len(net.ask(first, "all", tcp=True).records) == 300
    net.kill()
    net.start(SandboxNames(first, net.netns(first), ()))
    assert len(net.names.list()) == 300
    assert net.ask(f"{300:064x}", "s299").addresses == ["10.0.1.49"]
    before = time.monotonic()
    for number in range(1, 301):
        net.names.remove(f"{number:064x}")
    assert time.monotonic() - before < 3
    assert list(net.names.list()) == []


def test_a_sandbox_that_is_not_there_is_refused_by_name(net: World) -> None:
    missing = f"{9:064x}"
    wanted = SandboxNames(missing, net.netns(missing), ())
    with pytest.raises(Exception, match="no names in the network namespace"):
        net.start(wanted)
    assert net.names.get(missing) is None
    assert list(net.names.list()) == []
    net.sandboxes.create(missing)
    net.start(wanted)
    with pytest.raises(Exception, match="no names in the network namespace"):
        net.names.set(replace(wanted, netns=Path("/etc/passwd")))
    assert net.names.get(missing) == wanted
