"""What the command shows of networks, ports, images and logs is what is on the host."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import Engine
from tests.integration.command.client import FOREVER, Client, container, document
from tests.integration.command.outside import until
from tests.machines import Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(180), pytest.mark.usefixtures("images")]
SUBNETS = ["10.77.0.0/24", "fd00:77::/64"]
SERVER = "mkdir /w; echo web >/w/index.html; exec httpd -f -p 80 -h /w"


@pytest.fixture
def client(machines: Machines, engine: Callable[..., Engine]) -> Client:
    return Client(engine(machines.host.prefix), "default")


def rows(client: Client, name: str) -> list[tuple[str, str]]:
    """The first part of `describe`."""
    shown = client("describe", name).stdout.partition("events:")[0].splitlines()[1:]
    pairs = (line.strip().partition("  ") for line in shown)
    return [(title, value.strip()) for title, _, value in pairs]


def test_the_links_that_are_named_are_those_on_the_host(client: Client, machines: Machines) -> None:
    client.apply(
        document("Network", "back", subnets=SUBNETS, internal=True),
        document("Network", "front"),
        container("web", SERVER, networks=["front", {"name": "back", "aliases": ["api"]}]),
        container("db", networks=["back"]),
    )
    on_host = {one["ifname"]: one for one in json.loads(machines.host("ip", "-j", "link"))}
    found = {one["metadata"]["name"]: one for one in json.loads(client("network", "inspect", "back", "front").stdout)}
    ends = {
        (network, member["name"]): member["hostLink"] for network in found for member in found[network]["containers"]
    }
    assert ends.keys() == {("back", "web"), ("back", "db"), ("front", "web")}
    assert len(set(ends.values())) == 3
    for (network, name), end in ends.items():
        assert on_host[end]["master"] == found[network]["link"]
        [member] = [one for one in found[network]["containers"] if one["name"] == name]
        inside = client.inside(name, f"ip link show {member['interface']}")
        assert member["mac"] in inside
        assert f"@if{on_host[end]['ifindex']}:" in inside
        line = next(value for title, value in rows(client, name) if title == "network" and value.startswith(network))
        for word in (*member["addresses"], member["interface"], member["mac"], end):
            assert word in line
        assert ("also called api" in line) == ((network, name) == ("back", "web"))
    assert ("link", f"{found['back']['link']} on the host") in rows(client, "network/back")
    listed = [line.split("  ") for line in client("network", "ls").stdout.splitlines()]
    assert [cell.strip() for cell in listed[1] if cell] == [
        "back",
        "bridge",
        ", ".join(SUBNETS),
        "yes",
        "Ready",
        "db, web",
    ]


def test_links_are_named_for_the_life_of_a_container_alone(client: Client, machines: Machines) -> None:
    web = container("web", SERVER, networks=["bridge"])
    client.apply(web)
    [found] = json.loads(client("network", "inspect", "bridge").stdout)
    before = found["containers"][0]["hostLink"]
    client.apply({**web, "spec": {**web["spec"], "env": {"A": "b"}}})  # another incarnation
    [found] = json.loads(client("network", "inspect", "bridge").stdout)
    after = found["containers"][0]["hostLink"]
    assert before != after
    links = {one["ifname"] for one in json.loads(machines.host("ip", "-j", "link"))}
    assert after in links
    assert before not in links
    client("stop", "web")
    [found] = json.loads(client("network", "inspect", "bridge").stdout)
    assert "hostLink" not in found["containers"][0]


def test_ports_are_shown_as_they_can_be_asked(client: Client, machines: Machines) -> None:
    ports = ["127.0.0.1:19080:80", "19081:80", "80", "[::1]:19082:80", "19100-19102:100-102"]
    client.apply(container("web", SERVER, networks=["bridge"], ports=ports))
    shown = [value for title, value in rows(client, "web") if title == "port"]
    chosen = next(one["host"] for one in client.status("web")["ports"] if one["host"] not in range(19080, 19200))
    assert sorted(shown) == sorted(
        [
            "127.0.0.1:19080->80/tcp",
            "0.0.0.0:19081->80/tcp",
            "[::]:19081->80/tcp",
            f"0.0.0.0:{chosen}->80/tcp",
            f"[::]:{chosen}->80/tcp",
            "[::1]:19082->80/tcp",
            "0.0.0.0:19100-19102->100-102/tcp",
            "[::]:19100-19102->100-102/tcp",
        ]
    )
    for form in ("table", "wide"):
        assert f" {','.join(shown)} " in client("get", "container", "web", "-o", form).stdout
    wildcard = {"0.0.0.0": machines.host.ipv4, "[::]": f"[{machines.host.ipv6}]"}
    for text in shown[:6]:
        address, _, port = text.partition("->")[0].rpartition(":")
        url = f"http://{wildcard.get(address, address)}:{port}/"
        until(lambda url=url: machines.host("curl", "-s", "-m2", url, check=False) == "web\n", what=f"{url} answers")
    client("stop", "web")
    shown = [value for title, value in rows(client, "web") if title == "port"]
    assert shown
    assert all(value.endswith(", not published now") for value in shown)
    assert "PORTS" not in client("get", "container").stdout


def test_logs_of_several_with_the_name_before_each_line(client: Client) -> None:
    script = f"for i in 1 2 3; do echo $NAME $i; sleep 0.2; done; while [ ! -e /go ]; do sleep 0.05; done; echo on; {FOREVER}"
    client.apply(*(container(name, script, env={"NAME": name}) for name in ("a", "long")))
    until(lambda: client("logs", "a", "long").stdout.count("3\n") == 2, what="both have written")
    lines = client("logs", "a", "long").stdout.splitlines()
    assert [line for line in lines if line.startswith("a    | ")] == [f"a    | a {i}" for i in (1, 2, 3)]
    assert [line for line in lines if line.startswith("long | ")] == [f"long | long {i}" for i in (1, 2, 3)]
    stamps = [line.split()[2] for line in client("logs", "-t", "long", "a").stdout.splitlines()]
    assert stamps == sorted(stamps)
    words = [*client.command, "logs", "-f", "--tail", "1", "a", "long"]
    follower = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout
        assert {follower.stdout.readline() for _ in range(2)} == {"a    | a 3\n", "long | long 3\n"}
        for name in ("long", "a"):
            client.inside(name, "touch /go")
            assert follower.stdout.readline() == f"{name:<4} | on\n"
        client("delete", "container/a")
        assert follower.poll() is None
        client("delete", "container/long")
        assert follower.wait(10) == 0
    finally:
        follower.kill()
        follower.communicate()


@pytest.mark.parametrize("words", ["ps -a", "network create x", "compose up -d", "volume ls", "run -d nginx", "xyzzy"])
def test_what_is_no_command_starts_no_engine(client: Client, words: str) -> None:
    answer = client(*words.split(), check=False)
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert "started an engine" not in answer.stderr
    assert client.engine.pid is None


def test_what_is_no_archive_and_who_is_no_registry_are_named(client: Client, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    answer = client("image", "load", "-i", tmp_path / "notes.txt", check=False)
    assert answer.returncode == 1
    assert f"lading: {tmp_path}/notes.txt: " in answer.stderr
    assert "expected is what `docker save` writes" in answer.stderr
    answer = client("image", "pull", "localhost:9/shop:1", check=False)
    assert answer.returncode == 1
    assert "localhost:9 cannot be reached: Connection refused (look whether it runs" in answer.stderr


def test_describe_says_what_is_so_of_an_image_that_does_not_come(client: Client) -> None:
    missing = document("Image", "none", **{"from": {"registry": "localhost:9/none:1"}})
    waits = container("waits", image={"name": "none"})
    client.apply(missing, waits, flags=("--no-wait",))
    uses = until(
        lambda: next(
            (value for title, value in rows(client, "waits") if title == "uses" and "Retrying" in value), None
        ),
        what="the image is tried again",
    )
    assert uses == "image/none (Retrying)"
    assert not re.search(r"\(ready\)", client("describe", "waits").stdout)
