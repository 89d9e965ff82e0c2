"""The small parts of the resolver process: limits, messages, the host's servers, the loop."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.network.names import process, sockets
from drivers.network.names.framing import MAX_FRAME, FrameError, Frames, frame
from drivers.network.names.hostservers import HostServers, nameservers
from drivers.network.names.interface import Forward, MemberNames, SandboxNames
from drivers.network.names.limits import Descriptors, TokenBucket
from drivers.network.names.loop import READ, Loop
from drivers.network.names.records import forward_from, forward_message, sandbox_from, sandbox_message
from drivers.network.names.snapshot import Snapshot
from drivers.network.ports import listeners
from drivers.network.ports.interface import Listener


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 64)), max_size=100))
def test_a_bucket_gives_its_rate_and_its_burst_and_no_more(steps: list[tuple[float, int]]) -> None:
    bucket, now, taken = TokenBucket(1000, 250, 0.0), 0.0, 0
    for delay, wanted in steps:
        now += delay
        got = bucket.take(wanted, now)
        assert 0 <= got <= wanted
        taken += got
        assert taken <= 250 + now * 1000 + 1e-6
    assert bucket.take(10, now + 1) == 10


def test_descriptors_are_kept_for_names() -> None:
    descriptors = Descriptors(100)
    assert descriptors.take(75)
    assert not descriptors.take(1)
    assert descriptors.take(25, first=True)
    assert not descriptors.take(1, first=True)
    descriptors.give_back(50)
    assert descriptors.take(25)


MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=3), max_size=4)


@given(MESSAGES, st.integers(1, 7))
def test_messages_are_put_together_however_they_arrive(messages: list[dict[str, object]], step: int) -> None:
    data = b"".join(map(frame, messages))
    frames, got = Frames(), []
    for at in range(0, len(data), step):
        frames.feed(data[at : at + step])
        while (message := frames.next()) is not None:
            got.append(message)
    assert got == messages


@given(st.binary(max_size=60))
def test_garbage_is_a_frame_error(data: bytes) -> None:
    frames = Frames()
    frames.feed(data)
    try:
        while frames.next() is not None:
            pass
    except FrameError:
        pass


def test_a_message_is_bounded() -> None:
    frames = Frames()
    frames.feed((MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(FrameError):
        frames.next()
    frames = Frames()
    frames.feed((200000).to_bytes(4, "big") + b"[" * 200000)
    with pytest.raises(FrameError):
        frames.next()
    with pytest.raises(FrameError):
        frame({"x": "y" * MAX_FRAME})


def test_records_survive_their_message() -> None:
    sandbox = SandboxNames(
        "1" * 64, Path("/run/x"), (MemberNames("n", ("a", "b"), ("10.0.0.1",)),), False, ("192.0.2.1",)
    )
    assert sandbox_from(sandbox_message(sandbox)) == sandbox
    forward = Forward("udp", "::1", 53, "10.0.0.1", 5353)
    assert forward_from(forward_message(forward)) == forward


def test_the_hosts_servers_are_read_as_the_c_library_reads_them() -> None:
    text = (
        b"# nameserver 9.9.9.9\nnameserver 192.0.2.1\nsearch x\nnameserver fe80::1%eth0 \n nameserver bad\nnameserver\n"
    )
    assert nameservers(text) == ("192.0.2.1", "fe80::1%eth0")
    assert nameservers(b"nameserver 192.0.2.1\n" * 9) == ("192.0.2.1",) * 3
    assert nameservers(b"\xff\xfe\0") == ("127.0.0.1",)


@given(st.binary(max_size=200))
def test_no_resolv_conf_breaks_the_reader(text: bytes) -> None:
    assert 1 <= len(nameservers(text + b"\nnameserver " + text)) <= 3


def test_the_hosts_servers_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    servers = HostServers(str(path))
    assert servers.current(0.0) == ()
    path.write_text("nameserver 192.0.2.1\n")
    assert servers.current(1.0) == ("192.0.2.1",)
    replaced = tmp_path / "new"
    replaced.write_text("nameserver 192.0.2.2\n")
    replaced.rename(path)
    assert servers.current(1.1) == ("192.0.2.1",)  # not on each question
    assert servers.current(2.0) == ("192.0.2.2",)
    path.unlink()
    assert servers.current(3.0) == ("192.0.2.2",)


@pytest.mark.host
@pytest.mark.parametrize("told", [True, False], ids=["told", "an older kernel"])
def test_a_port_where_a_connection_begins_is_held_where_the_kernel_tells_who_is_bound(
    monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    def listed() -> list[Listener]:
        """All but those that are bound and do not listen."""
        return [one for one in all_of() if one.port == server.getsockname()[1]]

    all_of = listeners.all_listeners
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        port = client.getsockname()[1]
        if told:
            sockets.held(socket.SOCK_STREAM, "0.0.0.0", port).close()
            return
        monkeypatch.setattr(listeners, "all_listeners", listed)
        with pytest.raises(OSError, match="in use"):
            sockets.held(socket.SOCK_STREAM, "0.0.0.0", port)


def test_a_snapshot_keeps_what_is_whole(tmp_path: Path) -> None:
    snapshot = Snapshot(str(tmp_path / "s"))
    snapshot.save("names", "one", {"a": 1})
    snapshot.save("names", "one", {"a": 2})
    snapshot.save("proxies", "one", {"b": 1})
    (tmp_path / "s" / "names" / "two").write_text("{")
    (tmp_path / "s" / "names" / ".new").write_text("{}")
    (tmp_path / "s" / "names" / "list").write_text("[]")
    assert list(Snapshot(str(tmp_path / "s")).load("names")) == [("one", {"a": 2})]
    assert sorted(os.listdir(tmp_path / "s" / "names")) == ["one"]
    snapshot.remove("names", "one")
    snapshot.remove("names", "one")
    assert list(snapshot.load("names")) == []


def test_a_descriptor_that_took_the_number_of_another_is_told_nothing_of_that_one() -> None:
    loop = Loop(lambda error: None)
    pairs = [socket.socketpair() for _ in range(2)]
    third: list[socket.socket] = []
    told: list[int] = []

    def swap(_events: int) -> None:
        """Whichever comes first closes both, and their numbers are given out again."""
        for one, other in pairs:
            loop.forget(one.fileno())
            one.close()
            other.close()
        third.extend((*socket.socketpair(), *socket.socketpair()))
        for one in third:
            loop.watch(one.fileno(), READ, told.append)
        loop.later(0.02, loop.stop)

    numbers = {one.fileno() for one, _ in pairs}
    for one, other in pairs:
        other.send(b"x")
        loop.watch(one.fileno(), READ, swap)
    loop.run()
    assert told == []
    assert numbers <= {one.fileno() for one in third}
    for one in third:
        one.close()


def test_cancelled_timers_do_not_pile_up() -> None:
    loop = Loop(lambda error: None)
    for _ in range(10_000):
        loop.later(60, loop.stop).cancel()
    assert len(loop._timers) < 1000
    called: list[int] = []
    for number in (3, 1, 2):
        loop.later(number / 1000, lambda number=number: called.append(number))  # type: ignore[misc]
    loop.later(0.01, loop.stop)
    loop.run()
    assert called == [1, 2, 3]


def test_the_process_is_of_the_standard_library_and_its_own_modules() -> None:
    tree = Path(process.__file__).parents[3]
    script = (
        f"import sys; sys.path.append({str(tree)!r}); import drivers.network.names.process; "
        "print(*(f'{name}={getattr(module, \"__file__\", None)}' for name, module in sys.modules.items()), sep='\\n')"
    )
    answer = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    modules = dict(line.split("=", 1) for line in answer.stdout.splitlines())
    library = str(Path(os.__file__).parent)
    others = {name for name, file in modules.items() if file != "None" and not file.startswith(library)}
    own = {name for name in others if name.startswith("drivers.network.names.")}
    assert others - own <= {
        "drivers", "drivers.network", "drivers.network.names",
        "drivers.kernel", "drivers.kernel.files", "drivers.kernel.namespaces",
    }  # fmt: skip
    assert not {"asyncio", "dataclasses", "ipaddress", "logging", "subprocess"} & set(modules)  # each as large as it


def test_the_loop_outlives_its_handlers() -> None:
    told: list[Exception] = []
    loop = Loop(told.append)
    one, other = socket.socketpair()
    calls = 0

    def fail(_events: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            loop.stop()
        raise ValueError

    with one, other:
        other.send(b"x")
        loop.watch(one.fileno(), READ, fail)
        loop.later(0.01, lambda: 1 // 0)
        cancelled = loop.later(0.01, loop.stop)
        cancelled.cancel()
        loop.run()
        loop.forget(one.fileno())
        loop.forget(one.fileno())
    # The descriptor was left alone for a while, not looked at again and again.
    assert calls == 2
    assert [type(error) for error in told] == [ValueError, ZeroDivisionError, ValueError]
