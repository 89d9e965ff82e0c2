"""The process that answers names is killed while nobody does anything: it is there again at once, whatever lies in its way."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.integration.command.client import Client, document
from tests.integration.command.outside import Process, process, running, until
from tests.integration.command.test_bridge_networks import V6, fetch, get, got, server
from tests.machines import Machine, Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(180), pytest.mark.usefixtures("images")]
SOON = 3.0
"""Seconds; the resync comes after 60."""


@pytest.fixture
def client(machines: Machines, engine: Callable[..., Engine]) -> Client:
    return Client(engine(machines.host.prefix), "default")


def resolvers(client: Client) -> list[Process]:
    return running("names/process.py", str(client.engine.run_root))


def killed(client: Client) -> Process:
    """Which one it was."""
    [found] = resolvers(client)
    found.kill()
    until(lambda: process(found.pid) != found, what="the resolver is dead")
    return found


def serves(client: Client, host: Machine) -> None:
    until(lambda: get(host, "::1", 8080) == "web", within=SOON, what="::1 leads to the container again")
    until(lambda: fetch(client, "other", "http://web/") == "web", within=SOON, what="names are answered again")


def applied(client: Client) -> None:
    client.apply(document("Network", "net", **V6), server("web", "net", ports=["8080:80"]), server("other", "net"))


def test_a_killed_resolver_is_back_at_once_and_nothing_else_is_touched(client: Client, machines: Machines) -> None:
    host = machines.host
    applied(client)
    got(host, "::1", 8080, "web")
    lives = [client.process(name) for name in ("web", "other")]
    events = client("events").stdout
    for _ in range(2):
        first = killed(client)
        serves(client, host)
        assert [one for one in resolvers(client) if one != first]
    assert [client.process(name) for name in ("web", "other")] == lives
    told = client("events").stdout.removeprefix(events)
    assert "drift" in told.lower(), told


def test_an_engine_that_finds_a_living_resolver_watches_it_too(client: Client, machines: Machines) -> None:
    applied(client)
    [before] = resolvers(client)
    pid = client.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: process(pid) is None, what="the engine is dead")
    client("get", "container")
    until(lambda: client.phase("web") == "Running", what="the new engine has looked")
    assert resolvers(client) == [before]
    killed(client)
    serves(client, machines.host)


def test_one_that_dies_again_and_again_is_no_busy_loop(client: Client, machines: Machines) -> None:
    applied(client)
    engine = process(client.engine.pid or 0)
    assert engine is not None
    deaths, begun, used = 0, time.monotonic(), _seconds(engine)
    while time.monotonic() < begun + 8:
        for one in resolvers(client):
            one.kill()
            deaths += 1
        time.sleep(0.02)
    assert 2 <= deaths <= 12, deaths
    assert _seconds(engine) - used < 4
    until(lambda: fetch(client, "other", "http://web/") == "web", within=20, what="names are answered again")


def _seconds(one: Process) -> float:
    fields = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bound(path: Path) -> None:
    at = os.open(path.parent, os.O_PATH)  # the path is longer than the address of a socket may be
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{at}/s")
    os.close(at)
    (path.parent / "s").rename(path)


def endless(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


KINDS: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "directory": Path.mkdir,
    "full directory": lambda path: (path / "more" / "of it").mkdir(parents=True),
    "link": lambda path: path.symlink_to("/dev/zero"),
    "socket": bound,
    "endless": endless,
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_lies_in_its_snapshot_is_in_nobodys_way(client: Client, machines: Machines, kind: str) -> None:
    applied(client)
    snapshot = client.engine.run_root / "resolver" / "snapshot"
    taken = [path for folder in ("names", "proxies") for path in (snapshot / folder).iterdir()]
    assert len(taken) >= 3
    for path in (*taken, snapshot / "names" / "0", snapshot / "proxies" / "zz", snapshot / "names" / ".new"):
        path.unlink(missing_ok=True)
        KINDS[kind](path)
    killed(client)
    serves(client, machines.host)
    assert all(path.is_file() and not path.is_symlink() for path in snapshot.glob("*/*"))
    ends(client)


def test_what_lies_in_place_of_a_file_while_it_runs_is_replaced(client: Client, machines: Machines) -> None:
    applied(client)
    snapshot = client.engine.run_root / "resolver" / "snapshot"
    for path in list(snapshot.glob("*/*")):
        path.unlink()
        (path / "x").mkdir(parents=True)
    client.apply(
        document("Network", "net", **V6),
        server("web", "net", ports=["8080:80", "8081:80"]),
        server("other", {"name": "net", "aliases": ["more"]}),
    )
    assert client("delete", "container/other").returncode == 0
    client("delete", "container/web")
    assert list(snapshot.glob("*/*")) + list(snapshot.glob("*/.*")) == []


def test_one_that_hangs_does_not_outlive_the_engine(client: Client, machines: Machines) -> None:
    applied(client)
    client("delete", "--all", "--data")
    folder = client.engine.run_root / "resolver"
    [found] = resolvers(client)
    os.kill(found.pid, signal.SIGSTOP)
    (folder / "control.sock").unlink(missing_ok=True)
    ends(client)


def ends(client: Client) -> None:
    """All is deleted, the engine ends, and no resolver is there."""
    client("delete", "--all", "--data")
    client("shutdown")
    until(lambda: not resolvers(client), what="no resolver is left")
    shutil.rmtree(client.engine.run_root / "resolver", ignore_errors=True)
