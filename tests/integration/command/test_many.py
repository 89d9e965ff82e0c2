"""Many users of one engine: namespaces, clients at once, owners, and input that must change nothing."""

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.command.client import Client, container, document, text
from tests.integration.command.outside import Process

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]


def test_two_namespaces_from_one_manifest(client: Client) -> None:
    other = Client(client.engine, f"{client.namespace}b")
    wanted = (
        document("Volume", "data"),
        container("web", mounts=[{"volume": "data", "target": "/data"}], env={"WHO": "same"}),
    )
    client.apply(*wanted)
    other.apply(*wanted)
    one, two = client.process("web"), other.process("web")
    assert one != two
    client.inside("web", "echo mine > /data/file")
    assert other.inside("web", "ls /data") == ""
    other("delete", "--all", "--data")
    assert not two.alive
    assert client.process("web") == one
    assert client.inside("web", "cat /data/file") == "mine\n"


def test_eight_clients_at_once(client: Client) -> None:
    clients = [
        subprocess.Popen(
            [*client.command, "apply", "-f", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(8)
    ]
    for number, one in enumerate(clients):
        assert one.stdin
        one.stdin.write(text(container(f"web{number}"), container("common", env={"N": "1"})))
        one.stdin.close()
        one.stdin = None
    outputs = [one.communicate(timeout=60)[0] for one in clients]
    assert [one.returncode for one in clients] == [0] * 8, outputs
    lives: set[Process] = {client.process(f"web{number}") for number in range(8)}
    assert len(lives) == 8
    created = [output for output in outputs if "container/common created" in output]
    assert len(created) == 1


def test_what_is_in_use_is_not_deleted(client: Client) -> None:
    wanted = (document("Volume", "data"), container("web", mounts=[{"volume": "data", "target": "/data"}]))
    client.apply(*wanted)
    one = client.process("web")
    refused = client("delete", "volume/data", check=False)
    assert refused.returncode == 1
    assert "container/web" in refused.stderr
    assert one.alive
    assert client.apply(*wanted) == "nothing to change\n"
    client("delete", "volume/data", "--cascade")
    assert not one.alive
    assert client("get", "all", "-o", "name").stdout == "image/bb\n"


def test_prune_deletes_what_the_owner_dropped_and_nothing_else(client: Client) -> None:
    client.apply(container("strangers"))
    client("apply", "-f", "-", "--owner", "team", stdin=_alone(container("a"), container("b")))
    a, b, stranger = (client.process(name) for name in ("a", "b", "strangers"))
    assert client("apply", "-f", "-", "--prune", stdin=_alone(container("a")), check=False).returncode == 2
    client("apply", "-f", "-", "--owner", "team", "--prune", stdin=_alone(container("a")))
    assert (a.alive, b.alive, stranger.alive) == (True, False, True)
    assert client("get", "container", "-o", "name").stdout.split() == ["container/a", "container/strangers"]

    taken = client("apply", "-f", "-", "--owner", "others", stdin=_alone(container("a")), check=False)
    assert taken.returncode == 1
    assert "team" in taken.stderr
    client("apply", "-f", "-", "--owner", "others", "--adopt", stdin=_alone(container("a")))
    assert a.alive


def _alone(*documents: dict[str, object]) -> str:
    """Without the image, which is nobody's."""
    return text(*documents).split("\n---\n", 1)[1]


BAD = """\
apiVersion: lading/v1
kind: Container
metadata: {name: web}
spec:
  image: {name: bb}
  comand: [sleep, "1"]
  resources: {memory: 512m}
---
apiVersion: lading/v1
kind: Volume
metadata: {name: data}
spec: {size: many, reclaim: perhaps}
---
apiVersion: lading/v1
kind: Contaner
metadata: {name: other}
spec: {}
"""


def test_bad_manifests_change_nothing_and_say_all_that_is_wrong(client: Client, tmp_path: Path) -> None:
    client.apply(container("web"))
    one = client.process("web")
    before = _stored(client)
    bad = tmp_path / "bad.yaml"
    bad.write_text(BAD)
    for verb in ("apply", "plan", "validate"):
        answer = client(verb, "-f", bad, check=False)
        assert answer.returncode == 1
        problems = re.findall(rf"^{bad}:(\d+):(\d+): (.*)$", answer.stderr, re.MULTILINE)
        lines = {int(line): rest for line, _, rest in problems}
        assert set(lines) >= {6, 7, 12, 15}, answer.stderr
        assert "command" in lines[6]
        assert "512Mi" in lines[7]
        assert "Container" in lines[15]
        assert all(int(column) > 1 for line, column, _ in problems if line == "12")
    assert _stored(client) == before
    assert client.process("web") == one


def test_references_to_nothing_and_cycles_change_nothing(client: Client) -> None:
    before = _stored(client)
    dangling = container("web", mounts=[{"volume": "no", "target": "/data"}], dependsOn=["nobody"])
    answer = client("apply", "-f", "-", stdin=text(dangling), check=False)
    assert answer.returncode == 1
    assert "volume/no" in answer.stderr
    assert "container/nobody" in answer.stderr
    ring = (container("a", dependsOn=["b"]), container("b", dependsOn=["c"]), container("c", dependsOn=["a"]))
    answer = client("apply", "-f", "-", stdin=text(*ring), check=False)
    assert answer.returncode == 1
    assert all(f"container/{name}" in answer.stderr for name in "abc")
    assert _stored(client) == before


def _stored(client: Client) -> list[tuple[object, ...]]:
    """Every object as the store's file has it, but for the reports of the loop."""
    with closing(sqlite3.connect(f"file:{client.engine.root}/state.db?mode=ro", uri=True)) as database:
        rows = database.execute("select * from entry").fetchall()
    assert rows
    return sorted((row for row in rows if "status" not in str(row[0])), key=str)


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 50_000,
        "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n" * 3,
        "apiVersion: lading/v1\nkind: Container\nkind: Volume\n",
        "\x00\x01\x02",
        "!!python/object/apply:os.system ['touch /tmp/owned']",
        "- just\n- a list\n",
    ],
    ids=["deep", "aliases", "duplicate key", "binary", "python tag", "list"],
)
def test_hostile_input_is_refused_in_words(client: Client, hostile: str) -> None:
    answer = client("apply", "-f", "-", stdin=hostile, check=False, timeout=20)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    assert answer.stderr.strip()
    assert client.json("get", "all")["items"] == []
