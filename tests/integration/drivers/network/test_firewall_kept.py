"""The firewall's table while there is no engine: it is still the engine's, and nobody else's."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.network.firewall.nft import NftFirewall
from drivers.network.names.client import ResolverClient
from drivers.network.ports.interface import PublishedPort
from resources.errors import PermissionDenied
from tests.engines import CHECKOUT
from tests.integration.drivers.network.test_firewall_table import ONE, PORTS, TWO, WEB, filled, whole
from tests.machines import Machine, Machines

pytestmark = pytest.mark.host


class Kept:
    """An engine's firewall and the process that keeps its socket, one life after another."""

    def __init__(self, host: Machine, run_root: Path, instance: str) -> None:
        self.host = host
        self.run_root = run_root
        self.instance = instance
        self.lives: list[tuple[NftFirewall, ResolverClient]] = []

    def engine(self) -> NftFirewall:
        """The next one, in this process."""
        resolver = ResolverClient(self.run_root, self.instance)
        made = NftFirewall(self.instance, "ld-", keeper=resolver)
        self.lives.append((made, resolver))
        self.host.run(made.networks)
        return made

    def end(self) -> None:
        """The engine ends, and leaves everything alone."""
        for one in self.lives.pop():
            one.close()

    def killed(self, then: str = "") -> None:
        """One that has made the table and is killed."""
        script = (
            f"import os, signal, sys; sys.path.insert(0, {str(CHECKOUT)!r}); from pathlib import Path\n"
            "from drivers.network.names.client import ResolverClient\n"
            "from drivers.network.firewall.nft import NftFirewall\n"
            "from tests.integration.drivers.network.test_firewall_table import filled\n"
            f"resolver = ResolverClient(Path({str(self.run_root)!r}), {self.instance!r})\n"
            f"made = filled(NftFirewall({self.instance!r}, 'ld-', keeper=resolver))\n"
            f"{then}\nos.kill(os.getpid(), signal.SIGKILL)"
        )
        ended = subprocess.run([*self.host.prefix, sys.executable, "-c", script], capture_output=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()

    def flush(self) -> bool:
        """Whether another's `flush ruleset` leaves the table there."""
        self.host("nft", "flush", "ruleset")
        return f"table inet {self.instance}\n" in self.host("nft", "list", "tables")

    def kill_resolver(self) -> None:
        pid = ResolverClient(self.run_root, self.instance).pid()
        assert pid is not None
        process = os.pidfd_open(pid)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        ended = select.poll()
        ended.register(process, select.POLLIN)
        assert ended.poll(5000)
        os.close(process)

    def close(self) -> None:
        if not self.lives:
            self.engine()
        for firewall, _ in self.lives:
            with suppress(PermissionDenied):
                self.host.run(lambda firewall=firewall: emptied(firewall))  # type: ignore[misc]
        self.lives[-1][1].stop()
        while self.lives:
            self.end()


def emptied(firewall: NftFirewall) -> None:
    for one in (ONE, TWO):
        firewall.remove_network(one.id)
    firewall.set_ports(WEB, ())


@pytest.fixture
def kept(machines: Machines, short_path: Path, instance: str) -> Iterator[Kept]:
    made = Kept(machines.host, short_path, instance)
    yield made
    made.close()
    assert f"inet {instance}" not in machines.host("nft", "list", "tables")


def test_while_the_engine_lives_it_is_its_own(kept: Kept) -> None:
    engine = kept.engine()
    kept.host.run(lambda: filled(engine))
    assert kept.flush()
    kept.kill_resolver()
    assert kept.flush(), "the engine's own descriptor is enough"
    assert whole(engine)


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_when_the_engine_is_gone_it_is_still_nobody_elses(kept: Kept, end: str) -> None:
    if end == "killed":
        kept.killed()
    else:
        first = kept.engine()
        kept.host.run(lambda: filled(first))
        kept.end()
    assert kept.flush()
    with pytest.raises(AssertionError, match="Operation not permitted"):
        kept.host("nft", "delete", "table", "inet", kept.instance)
    heir = kept.engine()
    assert whole(heir)
    generation = heir._table.link.generation()
    kept.host.run(lambda: heir.set_ports(WEB, PORTS[:1]))
    assert heir._table.link.generation() == generation + 1, "nothing is made anew"
    assert kept.flush()
    kept.end()
    assert kept.flush(), "and again"
    last = kept.engine()
    assert last.ports(WEB) == PORTS[:1]


def test_a_new_resolver_process_is_given_the_socket_too(kept: Kept) -> None:
    engine = kept.engine()
    kept.host.run(lambda: filled(engine))
    kept.kill_resolver()
    # Whatever the engine asks for next.
    resolver = kept.lives[-1][1]
    kept.host.run(lambda: resolver.ask("names.list", start=True))
    kept.end()
    assert kept.flush()
    heir = kept.engine()
    kept.host.run(lambda: filled(heir))
    kept.kill_resolver()
    kept.host.run(lambda: heir.set_ports(WEB, PORTS[:1]))
    kept.end()
    assert kept.flush()


def test_without_either_it_is_adopted(kept: Kept) -> None:
    kept.killed()
    kept.kill_resolver()
    heir = kept.engine()
    assert whole(heir)
    assert kept.flush(), "it has been taken over by looking at it"
    resolver = kept.lives[-1][1]
    kept.host.run(lambda: resolver.ask("names.list", start=True))
    kept.end()
    assert kept.flush(), "and the next resolver has it"


def test_it_is_the_very_socket_all_along(kept: Kept) -> None:
    kept.killed()
    numbers = set()
    for _ in range(3):
        numbers.add(kept.engine()._table.link.number)
        kept.end()
    assert len(numbers) == 1


@pytest.mark.parametrize(
    "then",
    [
        # In the middle of a long list, and after a change that it never heard the answer to.
        "from drivers.network.firewall import messages as m\n"
        "from drivers.network.netlink.messages import _HEADER\n"
        "one = m.elements(made._table.name, 'any4')\n"
        "made.set_ports('b' * 32, [__import__('drivers.network.ports.interface').network.ports.interface.PublishedPort(\n"
        "    20000 + n, 80, '', 'tcp', '10.42.1.2') for n in range(3000)])\n"
        "made._table.link._socket.send(_HEADER.pack(16 + len(one.body), one.kind, 0x301, 5, 0) + one.body)",
        "made._table.link._socket.send(__import__('struct').pack('=IHHII', 20, 0xa << 8 | 16, 5, 1, 0) + bytes(4))",
    ],
    ids=["list", "answer"],
)
def test_what_a_killed_engine_did_not_hear_confuses_nobody(kept: Kept, then: str) -> None:
    kept.killed(then)
    heir = kept.engine()
    assert whole(heir)
    kept.host.run(lambda: heir.set_ports("b" * 32, ()))
    kept.host.run(lambda: heir.set_ports(WEB, PORTS))
    assert heir.port_owners() == [WEB]


def test_an_engine_elsewhere_begins_with_a_socket_of_its_own(kept: Kept, machines: Machines) -> None:
    first = kept.engine()
    kept.host.run(lambda: filled(first))
    kept.end()
    resolver = ResolverClient(kept.run_root, kept.instance)
    other = NftFirewall(kept.instance, "ld-", keeper=resolver)
    try:
        assert machines.lan.run(other.networks) == []
    finally:
        other.close()
        resolver.close()
    assert whole(kept.engine())


def test_with_its_last_port_and_network_the_table_goes_however_it_is_kept(kept: Kept) -> None:
    kept.killed()
    heir = kept.engine()
    kept.host.run(lambda: emptied(heir))
    assert f"inet {kept.instance}" not in kept.host("nft", "list", "tables")
    kept.host.run(lambda: heir.set_ports(WEB, [PublishedPort(8080, 80, "", "tcp", "10.42.1.2")]))
    assert kept.flush()


def test_without_a_process_nothing_is_kept_and_nobody_minds(kept: Kept) -> None:
    assert kept.engine().networks() == []
    resolver = kept.lives[-1][1]
    assert resolver.kept() is None
    assert resolver.pid() is None, "looking starts nothing"
