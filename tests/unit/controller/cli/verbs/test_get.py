import json
import re
import threading
import time
from collections.abc import Callable

import pytest
import yaml

from resources.kinds import Kind
from resources.meta import Condition, Key
from tests.unit.controller.cli.fakes import NOW, FakeBackend, FakeSession, ref, run, status


@pytest.fixture
def shop(backend: FakeBackend) -> FakeBackend:
    objects = backend.objects
    web = objects.add(Kind.CONTAINER, "web", {"image": "nginx", "networks": [{"name": "host"}]}, labels={"app": "shop"})
    objects.report(web, status(pid=4711, restarts=2, image="nginx:1.27"))
    db = objects.add(
        Kind.CONTAINER,
        "db",
        {"image": {"name": "postgres"}, "networks": [{"name": "none"}]},
        labels={"app": "shop", "tier": "data"},
    )
    objects.report(db, status(False, "Failed", "exit code 1:\nno \x1b]0;title\x07space", exitCode=1))
    objects.add(Kind.VOLUME, "orders", {"size": "10Gi"})
    objects.add(Kind.CONTAINER, "web", {"image": "nginx"}, namespace="test")
    secret = {"data": {"password": "hunter2"}, "env": {"token": "TOKEN"}}
    objects.add(Kind.SECRET, "db", secret)
    return backend


def shown(backend: FakeBackend, *argv: str, tty: bool = False) -> str:
    user = FakeSession(*argv, tty=tty)
    assert run(backend, user) == 0, user.errors
    return user.text


def test_a_table_says_how_each_stands_and_why(shop: FakeBackend) -> None:
    lines = shown(shop, "get", "containers").splitlines()
    assert lines[0].split() == ["NAME", "STATE", "READY", "UP", "RESTARTS", "EXIT", "AGE", "WHY"]
    assert lines[1].split()[:3] == ["db", "Failed", "no"]
    assert lines[2].split()[:5] == ["web", "Running", "yes", "-", "2"]
    assert lines[1].endswith("exit code 1: no \\x1b]0;title\\x07space")


def test_a_table_fits_the_terminal(shop: FakeBackend) -> None:
    text = shown(shop, "get", "c", tty=True)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_where_all_is_well_no_reasons_are_shown(shop: FakeBackend) -> None:
    assert "WHY" not in shown(shop, "get", "volume").splitlines()[0]
    assert "10Gi" in shown(shop, "get", "vol", "orders")


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["container", "-o", "name"], ["container/db", "container/web"]),
        (["container", "-A", "-o", "name"], ["container/db", "container/web", "container/web"]),
        (["container", "-n", "test", "-o", "name"], ["container/web"]),
        (["container", "-l", "tier=data", "-o", "name"], ["container/db"]),
        (["container", "-l", "app", "-l", "tier", "-o", "name"], ["container/db"]),
        (["container", "-l", "app=shop,tier=data", "-o", "name"], ["container/db"]),
        (["volume,secret", "-o", "name"], ["volume/orders", "secret/db"]),
        (["all", "-o", "name"], ["container/db", "container/web", "volume/orders", "secret/db"]),
        (["container/web", "-o", "name"], ["container/web"]),
        (["c", "web", "-o", "name"], ["container/web"]),
    ],
)
def test_what_is_asked_for(shop: FakeBackend, argv: list[str], names: list[str]) -> None:
    assert shown(shop, "get", *argv).split() == names


def test_json_is_exact_and_says_everything(shop: FakeBackend) -> None:
    one = json.loads(shown(shop, "get", "container/db", "-o", "json", tty=True))
    assert (one["apiVersion"], one["kind"], one["metadata"]["name"]) == ("lading/v1", "Container", "db")
    assert one["spec"] == {"image": {"name": "postgres"}, "networks": [{"name": "none"}]}
    assert one["effective"]["resources"]["pids"] == 2048
    assert (one["status"]["phase"], one["status"]["exitCode"]) == ("Failed", 1)
    assert one["status"]["conditions"][0]["message"] == "exit code 1:\nno \x1b]0;title\x07space"
    many = json.loads(shown(shop, "get", "container", "-o", "json"))
    assert [item["metadata"]["name"] for item in many["items"]] == ["db", "web"]


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "manifest", "name"])
def test_no_form_shows_a_secret(shop: FakeBackend, form: str) -> None:
    text = shown(shop, "get", "secret", "db", "-o", form) + shown(shop, "describe", "secret/db")
    assert "hunter2" not in text
    assert "c2VhbGVk" not in text
    if form in ("json", "yaml"):
        assert "digest-of-password" in text


def test_a_manifest_can_be_applied_again(shop: FakeBackend) -> None:
    text = shown(shop, "get", "container,secret", "-o", "manifest")
    _, web, secret = yaml.safe_load_all(text)
    assert web == {
        "apiVersion": "lading/v1",
        "kind": "Container",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "shop"}},
        "spec": {"image": "nginx", "networks": [{"name": "host"}]},
    }
    assert secret["spec"]["data"] == {"password": "${DB_PASSWORD:?its value is not shown}"}
    user = FakeSession("apply", "--no-wait", "-f", "-", "--var", "DB_PASSWORD=x", files={"-": text.encode()})
    user.environment["TOKEN"] = "t"
    assert run(shop, user) == 0, user.errors
    assert user.text.startswith("nothing to change")


def test_what_is_not_there_and_what_is_no_kind(shop: FakeBackend) -> None:
    for argv, said in (
        (["get", "container", "nothing"], "there is no container/nothing in namespace default"),
        (["get", "contaner"], "there is no kind 'contaner' (did you mean container?)"),
        (["get", "orders"], "there is no kind 'orders' (did you mean volume/orders?)"),
        (["get", "zzz"], "there is no kind 'zzz' (there are image, container"),
        (["get", "service"], "objects of kind Service come in a later version"),
        (["get", "container/we b"], "is not a name"),
        (["get", "container", "web", "-A"], "a name stands for one object"),
    ):
        user = FakeSession(*argv)
        assert run(shop, user) == 1
        assert said in user.errors


def test_nothing_is_said_of_nothing(backend: FakeBackend) -> None:
    user = FakeSession("get", "image")
    assert (run(backend, user), user.text, user.errors) == (0, "", "nothing in namespace default\n")


def watching(backend: FakeBackend, user: FakeSession, first: str, *steps: tuple[Callable[[], object], str]) -> None:
    """Run the command; when it has said `first` do one step after another, each when the last was answered; interrupt it."""
    done = threading.Event()
    user.interrupted = done.is_set
    thread = threading.Thread(target=run, args=(backend, user))
    thread.start()
    try:
        until_said(user, 0, first)
        for step, answer in steps:
            before = len(user.text)
            step()
            until_said(user, before, answer)
    finally:
        done.set()
        thread.join(10)
    assert not thread.is_alive()


def until_said(user: FakeSession, start: int, word: str) -> None:
    deadline = time.monotonic() + 10
    while word not in user.text[start:]:
        assert time.monotonic() < deadline, user.text
        time.sleep(0.005)


def test_watching_tells_each_change(shop: FakeBackend) -> None:
    web = shop.objects.find(ref(Kind.CONTAINER, "web"))
    assert web is not None
    user = FakeSession("get", "container", "-w")
    watching(
        shop,
        user,
        "container/web",
        (lambda: shop.objects.report(web, status(False, "Paused", "by hand")), "Paused"),
        (lambda: shop.objects.add(Kind.CONTAINER, "new", {"image": "x"}), "container/new"),
        (lambda: shop.objects.add(Kind.VOLUME, "data"), ""),
        (lambda: shop.objects.remove(web.key), "Deleted"),
    )
    assert [line.split()[:2] for line in user.text.splitlines()] == [
        ["container/db", "Failed"],
        ["container/web", "Running"],
        ["container/web", "Paused"],
        ["container/new", "Pending"],
        ["container/web", "Deleted"],
    ]


def test_watching_says_nothing_twice(shop: FakeBackend) -> None:
    web = shop.objects.find(ref(Kind.CONTAINER, "web"))
    assert web is not None
    report = status(pid=4711, restarts=2, image="nginx:1.27")
    user = FakeSession("get", "container", "web", "-w")
    again = (lambda: shop.objects.report(web, report)), ""
    watching(shop, user, "Running", again, again, (lambda: shop.objects.report(web, status(phase="Paused")), "Paused"))
    assert user.text == "container/web  Running\ncontainer/web  Paused\n"


def test_watching_on_a_terminal_draws_the_table_anew(shop: FakeBackend) -> None:
    web = shop.objects.find(ref(Kind.CONTAINER, "web"))
    assert web is not None
    user = FakeSession("get", "container", "-w", tty=True)
    watching(shop, user, "web", (lambda: shop.objects.report(web, status(True, "Paused")), "Paused"))
    assert "\x1b[3A" in user.text
    assert "Paused" in user.text.rpartition("\x1b[3A")[2]


def test_watching_one_as_json_ends_with_it(shop: FakeBackend) -> None:
    db = shop.objects.find(ref(Kind.CONTAINER, "db"))
    assert db is not None
    user = FakeSession("get", "container", "db", "-w", "-o", "json")
    thread = threading.Thread(target=lambda: (time.sleep(0.2), shop.objects.remove(Key(kind=db.kind, uid=db.key.uid))))
    thread.start()
    assert run(shop, user) == 0
    assert json.loads(user.text.splitlines()[-1])["deleted"] is True


def test_describe_tells_uses_and_events(shop: FakeBackend) -> None:
    web = shop.objects.find(ref(Kind.CONTAINER, "web"))
    assert web is not None
    shop.events.add(web, "Started", "it runs")
    shop.edges = [(web.ref, ref(Kind.IMAGE, "nginx"), "ready"), (ref(Kind.CONTAINER, "proxy"), web.ref, "healthy")]
    text = shown(shop, "describe", "web")
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    assert ["uses", "image/nginx (not there)"] in lines
    assert "  used by    container/proxy" in text.splitlines()
    assert re.search(r"\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  Started  it runs\n", text)


def test_describe_says_how_what_it_uses_stands_itself(shop: FakeBackend) -> None:
    web = ref(Kind.CONTAINER, "web")
    image, db = ref(Kind.IMAGE, "nginx"), ref(Kind.CONTAINER, "db")
    shop.edges = [(web, image, "ready"), (web, db, "healthy"), (web, ref(Kind.VOLUME, "orders"), "ready")]
    item = shop.objects.add(Kind.IMAGE, "nginx", {"from": {"registry": "nginx"}})
    for phase, ready in (("Retrying", False), ("Ready", True)):
        shop.objects.report(item, status(ready, phase))
        uses = f"image/nginx ({phase}), container/db (Failed, has to be healthy), volume/orders (Pending)"
        assert f"  uses       {uses}\n" in shown(shop, "describe", "web")


def test_describe_says_how_it_stands_and_leaves_out_the_steps(shop: FakeBackend) -> None:
    mounts = [{"volume": "orders", "target": "/data", "readOnly": True}, {"secret": "db", "key": "k", "target": "/k"}]
    spec = {"image": "nginx", "command": ["sh", "-c", "sleep 1"], "mounts": mounts, "networks": [{"name": "host"}]}
    job = shop.objects.add(Kind.CONTAINER, "job", spec, owner="me")
    report = status(False, "Unhealthy", "no answer", health={"state": "unhealthy", "failingStreak": 3})
    blocked = Condition(
        type="DependenciesReady", status="False", reason="Blocked", message="x", last_transition_time=NOW
    )
    shop.objects.report(job, report.model_copy(update={"conditions": (*report.conditions, blocked)}))
    for reason in ("PrepareSnapshot", "StartTask", "StartProbe"):
        shop.events.add(job, reason, reason.lower())
    text = shown(shop, "describe", "job")
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  "))
    assert lines["state"] == "Unhealthy: no answer"
    assert (lines["owner"], lines["image"], lines["command"]) == ("me", "nginx", "sh -c 'sleep 1'")
    assert "  mount              volume/orders at /data (read-only)\n" in text
    assert lines["mount"] == "secret/db (k) at /k"
    assert lines["health"] == "unhealthy, 3 failures in a row"
    assert lines["DependenciesReady"] == "no: x"
    assert "StartTask" in text
    assert "StartProbe" not in text
    assert "PrepareSnapshot" in shown(shop, "describe", "job", "--all-events")


def test_describe_tells_of_several(shop: FakeBackend) -> None:
    both = shown(shop, "describe", "container/web", "volume/orders")
    assert both == f"{shown(shop, 'describe', 'web')}\n{shown(shop, 'describe', 'volume', 'orders')}"
    assert shown(shop, "describe", "container", "web", "db").count("\n\n") == 1
