"""The engine, and now and then the process that answers names, are killed while networks, ports and names change: the next
apply brings everything to what was asked for, as other machines see it, and nothing is left.

LADING_KILLS says how often; 200 take a quarter of an hour.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.engines import Engine
from tests.integration.command.client import Client, Document, container, document, text
from tests.integration.command.outside import running, until
from tests.integration.command.test_engine_death import kill_engine
from tests.machines import Machine, Machines

KILLS = int(os.environ.get("LADING_KILLS", "8"))

pytestmark = [pytest.mark.host, pytest.mark.timeout(240 + 15 * KILLS), pytest.mark.usefixtures("images")]


@pytest.fixture
def client(machines: Machines, engine: Callable[..., Engine]) -> Client:
    return Client(engine(machines.host.prefix), "default")


def web(name: str, *networks: object, ports: tuple[str, ...] = (), version: str = "") -> Document:
    script = f"mkdir -p /w; echo {name} >/w/index.html; exec httpd -f -p 80 -h /w"
    return container(name, script, networks=list(networks), ports=list(ports), env={"VERSION": version})


NET = document("Network", "net", subnets=["10.77.0.0/24", "fd00:77::/64"])
OTHER = document("Network", "other", subnets=["10.78.0.0/24"])
THIRD = document("Network", "third", subnets=["10.79.0.0/24"], internal=True)
SETS: tuple[tuple[Document, ...], ...] = (
    (NET, OTHER, web("one", "net", ports=("8081:80",)), web("two", "net", "other", ports=("8082:80", "[::1]:8083:80"))),
    (NET, OTHER, web("one", "net", "other", ports=("8082:80",)), web("two", {"name": "net", "aliases": ["deux"]})),
    (NET, THIRD, web("one", "net", "third"), web("three", "third"), web("two", "net", ports=("8081:80",), version="2")),
    (OTHER, web("two", {"name": "other", "ipv4": "10.78.0.9"}, ports=("127.0.0.1:8081:80",))),
)


def test_killed_while_networks_change(client: Client, machines: Machines) -> None:
    chance = random.Random(int(os.environ.get("LADING_SEED", "1")))
    for turn in range(KILLS):
        wanted = SETS[chance.randrange(len(SETS))]
        _apply_and_die(client, wanted, chance.uniform(0.05, 1.6))
        if chance.random() < 0.25:
            for one in running(str(client.engine.run_root), "process.py"):
                os.kill(one.pid, signal.SIGKILL)
        answer = client("apply", "-f", "-", "--prune", "--owner", "all", stdin=text(*wanted), check=False)
        assert answer.returncode == 0, f"turn {turn}: {answer.stdout}{answer.stderr}"
        _is_as_wanted(client, machines, wanted, turn)


def _apply_and_die(client: Client, wanted: tuple[Document, ...], after: float) -> None:
    apply = subprocess.Popen(
        [*client.command, "apply", "-f", "-", "--prune", "--owner", "all"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert apply.stdin is not None
    apply.stdin.write(text(*wanted).encode())
    apply.stdin.close()
    time.sleep(after)
    kill_engine(client)
    apply.wait(60)


def _is_as_wanted(client: Client, machines: Machines, wanted: tuple[Document, ...], turn: int) -> None:
    networks = {one["metadata"]["name"] for one in wanted if one["kind"] == "Network"}
    links = json.loads(machines.host("ip", "-j", "link", "show", "type", "bridge"))
    assert len(links) == len(networks), (turn, [one["ifname"] for one in links])
    pairs = json.loads(machines.host("ip", "-j", "link", "show", "type", "veth"))
    containers = [one for one in wanted if one["kind"] == "Container"]
    attached = [one for one in pairs if one["ifname"].startswith("ld")]
    assert len(attached) == sum(len(one["spec"]["networks"]) for one in containers), turn
    published = {}
    for one in containers:
        name = one["metadata"]["name"]
        for port in one["spec"]["ports"]:
            place, _, number = port.removesuffix(":80").rpartition(":")
            published[place.strip("[]") or machines.host.ipv4, int(number)] = name
        found = client("exec", name, "--", "nslookup", name, check=False)
        assert found.returncode == 0, (turn, name, found.stdout)
    for port in (8081, 8082, 8083):
        for address in (machines.host.ipv4, "127.0.0.1", "::1"):
            expected = published.get((address, port), "")
            if not expected and address != machines.host.ipv4:
                expected = published.get((machines.host.ipv4, port), "")
            until(
                lambda a=address, p=port, e=expected: _get(machines.host, a, p) == e, what=f"{turn}: {address} {port}"
            )


def _get(machine: Machine, address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return machine("curl", "-s", "--max-time", "2", f"http://{host}:{port}/", check=False).strip()
