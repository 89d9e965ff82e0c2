import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.cli.progress import waiting
from resources.kinds import Kind
from resources.object import Object
from tests.unit.controller.cli.fakes import NOW, FakeBackend, ref, run, status
from tests.unit.controller.cli.shop import WEB, session


def test_what_failed_for_good_is_named(backend: FakeBackend) -> None:
    backend.then = lambda item: backend.objects.report(item, status(False, "Failed", "no such\x1b[31m image"))
    user = session("apply", "-f", "shop/web.yaml")
    assert run(backend, user) == 1
    assert "lading: container/web failed: no such image" in user.errors


def test_an_error_that_cannot_mend_itself_is_a_failure(backend: FakeBackend) -> None:
    report = status(False, "Pending", "a bad capability", reason="InvalidArgument")
    backend.then = lambda item: backend.objects.report(item, report)
    assert run(backend, session("apply", "-f", "shop/web.yaml")) == 1


def test_what_waits_for_what_failed_is_not_waited_for(backend: FakeBackend) -> None:
    reports = {
        "web": status(False, "Failed", "exit code 1"),
        "next": status(False, "Waiting", "image/x is not ready; container/web has not completed"),
        "last": status(False, "Waiting", "container/next is not healthy"),
    }
    backend.then = lambda item: backend.objects.report(item, reports[item.metadata.name])
    three = b"---\n".join(WEB.replace(b"name: web", b"name: " + name.encode()) for name in reports)
    user = session("apply", "-f", "-", **{"-": three})
    assert run(backend, user) == 1
    assert "container/last failed: container/next is not healthy" in user.errors


def test_what_runs_and_is_to_be_made_of_what_failed_is_not_waited_for(backend: FakeBackend) -> None:
    """A new image of it cannot be had: the process goes on as it was."""
    reports = {
        "web": status(False, "Failed", "exit code 1"),
        "next": status(False, "Running", "container/web is not ready: there is no such tag", reason="Waiting"),
    }
    backend.then = lambda item: backend.objects.report(item, reports[item.metadata.name])
    two = b"---\n".join(WEB.replace(b"name: web", b"name: " + name.encode()) for name in reports)
    user = session("apply", "-f", "-", **{"-": two})
    assert run(backend, user) == 1
    assert "container/next failed: container/web is not ready: there is no such tag" in user.errors


def test_no_progress_within_the_timeout_is_exit_code_4(backend: FakeBackend) -> None:
    backend.then = lambda item: backend.objects.report(item, status(False, "Pending", "waits for container/db"))
    user = session("apply", "-f", "shop/web.yaml", "--timeout", "200ms")
    assert run(backend, user) == 4
    assert "container/web makes no progress: waits for container/db" in user.errors


def test_what_comes_and_goes_is_no_progress_and_once_ready_is_enough(backend: FakeBackend) -> None:
    flapping = [(False, "Restarting", "exit code 1"), (False, "Starting", "its health check has not succeeded")] * 50
    backend.then = later(backend, 0.05, *flapping)
    assert run(backend, session("apply", "-f", "shop/web.yaml", "--timeout", "300ms")) == 4
    backend.then = later(backend, 0.05, (True, "Running", ""), *flapping)
    assert run(backend, session("apply", "-n", "other", "-f", "shop/web.yaml")) == 0


def test_what_removes_itself_is_done_when_it_is_gone(backend: FakeBackend) -> None:
    passing = WEB.replace(b"command:", b"autoRemove: true, command:")
    deleting = {"deletion_timestamp": NOW}

    def goes(item: Object) -> None:
        metadata = item.metadata.model_copy(update=deleting)
        backend.objects.put(item.model_copy(update={"metadata": metadata}), status(False, "Deleting"))

    for then in (goes, lambda item: backend.objects.remove(item.key)):
        backend.then = then
        user = session("apply", "-f", "-", **{"-": passing})
        assert run(backend, user) == 0, user.errors
        backend.objects.items.clear()
    backend.then = goes
    assert run(backend, session("apply", "-f", "shop/web.yaml")) == 1


def test_a_failure_that_stands_is_not_waited_for(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STANDING", 0.3)
    reports = {
        "web": status(False, "Creating", "/srv is not there", reason="FailedPrecondition"),
        "next": status(False, "Waiting", "container/web has not started"),
    }
    backend.then = lambda item: backend.objects.report(item, reports[item.metadata.name])
    two = b"---\n".join(WEB.replace(b"name: web", b"name: " + name.encode()) for name in reports)
    user = session("apply", "-f", "-", **{"-": two})
    assert run(backend, user) == 1
    assert "container/web failed: /srv is not there; the engine keeps trying" in user.errors
    assert "container/next failed: container/web has not started" in user.errors


def test_a_failure_is_waited_for_while_others_get_on(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STANDING", 0.4)
    """And once it has mended itself, nothing has failed."""
    fails = status(False, "Creating", "/srv is not there", reason="FailedPrecondition")
    steps = [(False, "Creating", f"unpacks {percent}%") for percent in range(0, 100, 10)]
    unpacks = later(backend, 0.1, *steps, (True, "Ready", ""))
    mends = later(backend, 1.0, (True, "Running", ""))

    def then(item: Object) -> None:
        if item.kind is Kind.IMAGE:
            unpacks(item)
        else:
            backend.objects.report(item, fails)
            mends(item)

    backend.then = then
    user = session("apply", "-f", "shop/web.yaml", "-f", "shop/site.yaml")
    assert run(backend, user) == 0, user.errors


def later(backend: FakeBackend, step: float, *reports: tuple[bool, str, str]) -> Callable[[Object], None]:
    def then(item: Object) -> None:
        def go() -> None:
            for ready, phase, message in reports:
                time.sleep(step)
                backend.objects.report(item, status(ready, phase, message))

        threading.Thread(target=go, daemon=True).start()

    return then


def test_progress_extends_the_patience(backend: FakeBackend) -> None:
    steps = [(False, "Pulling", f"{percent}%") for percent in range(0, 100, 10)]
    backend.then = later(backend, 0.1, *steps, (True, "Running", ""))
    user = session("apply", "-f", "shop/web.yaml", "--timeout", "600ms")
    assert run(backend, user) == 0, user.errors
    assert "container/web  Pulling  50%" in user.text


def test_a_terminal_shows_a_line_an_object_in_place(backend: FakeBackend) -> None:
    backend.then = later(backend, 0.05, (False, "Creating", "unpacks"), (True, "Running", ""))
    user = session("apply", "-f", "shop/web.yaml", tty=True)
    assert run(backend, user) == 0
    assert "\x1b[1A" in user.text
    assert user.text.endswith("\x1b[32m✓\x1b[0m container/web  Running\n\x1b[J")


def test_more_objects_than_the_terminal_has_lines(backend: FakeBackend) -> None:
    many = b"---\n".join(WEB.replace(b"name: web", b"name: web%d" % number) for number in range(40))
    user = session("apply", "-f", "-", tty=True, **{"-": many})
    assert run(backend, user) == 0
    assert user.text.rpartition("\r")[2].count("\n") == 22
    assert "… 19 more; 0 of 40 are not there yet" in user.text


def test_json_is_a_line_an_event(backend: FakeBackend) -> None:
    backend.then = later(backend, 0.05, (False, "Creating", "x\x1b[2J"), (True, "Running", ""))
    user = session("apply", "-f", "shop/web.yaml", "-o", "json", tty=True)
    assert run(backend, user) == 0
    lines = [json.loads(line) for line in user.text.splitlines()]
    assert lines[0]["event"] == "applied"
    assert lines[0]["created"] == [{"kind": "Container", "namespace": "default", "name": "web"}]
    assert [line["phase"] for line in lines if line["event"] == "state"][-2:] == ["Creating", "Running"]
    assert "x\x1b[2J" in [line.get("message") for line in lines]
    assert lines[-1] == {"event": "end", "ok": True, "timeout": False}


def test_interrupting_the_wait_leaves_the_objects(backend: FakeBackend) -> None:
    backend.then = lambda item: None
    user = session("apply", "-f", "shop/web.yaml")
    until = time.monotonic() + 0.2
    user.interrupted = lambda: time.monotonic() > until
    assert run(backend, user) == 130
    assert backend.objects.find(ref(Kind.CONTAINER, "web")) is not None


def test_what_is_implied_is_waited_for_and_its_progress_is_seen(backend: FakeBackend) -> None:
    image = backend.objects.add(Kind.IMAGE, "nginx_1", {"from": {"registry": "nginx:1"}}, implied=True)
    other = backend.objects.add(Kind.IMAGE, "redis_7", {"from": {"registry": "redis:7"}}, implied=True)
    backend.objects.report(other, status(False, "Failed", "nobody waits for this one"))
    web = ref(Kind.CONTAINER, "web")
    backend.edges = [(web, image.ref, "ready"), (ref(Kind.CONTAINER, "other"), other.ref, "ready")]

    def pulled(item: Object) -> None:
        backend.objects.report(item, status(False, "Waiting", "image/nginx_1 is not ready"))

        def pull() -> None:
            for done in range(0, 101, 5):
                layers = [{"digest": "a", "done": done << 20, "total": 100 << 20}]
                progress = {"what": "pull nginx:1", "done": done << 20, "total": 100 << 20, "layers": layers}
                backend.objects.report(image, status(False, "Pulling", f"pull nginx:1 {done}%", progress=progress))
                time.sleep(0.01)
            backend.objects.report(image, status())
            backend.objects.report(item, status())

        threading.Thread(target=pull).start()

    backend.then = pulled
    user = session("apply", "-f", "shop/web.yaml", "--timeout", "5s")
    assert run(backend, user) == 0, user.errors
    pulling = [line for line in user.text.splitlines() if "Pulling" in line]
    assert len(pulling) == 1
    assert pulling[0].startswith("image/nginx_1  Pulling  pull nginx:1")
    assert "container/web  Running" in user.text.splitlines()


def test_bytes_on_their_way_are_progress(backend: FakeBackend) -> None:
    """However long they take, and nothing else changes."""

    def pulled(item: Object) -> None:
        def pull() -> None:
            for done in range(20):
                progress = {"what": "pull", "done": done, "total": 0, "layers": []}
                backend.objects.report(item, status(False, "Pulling", "pull", progress=progress))
                time.sleep(0.05)
            backend.objects.report(item, status())

        threading.Thread(target=pull).start()

    backend.then = pulled
    assert run(backend, session("apply", "-f", "shop/web.yaml", "--timeout", "500ms")) == 0


def two(*names: str) -> bytes:
    return b"---\n".join(WEB.replace(b"name: web", b"name: " + name.encode()) for name in names)


@pytest.mark.parametrize("reason", ["Conflict", "Unavailable", "NotFound", "ResourceExhausted", "FailedPrecondition"])
def test_whatever_fails_the_same_way_is_given_up(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(waiting, "STANDING", 0.3)
    report = status(False, "Retrying", "10.9.0.0/24 is a route of the host; it is tried again", reason=reason)
    backend.then = lambda item: backend.objects.report(item, report)
    user = session("apply", "-f", "shop/web.yaml")
    begun = time.monotonic()
    assert run(backend, user) == 1
    assert time.monotonic() - begun < 3
    assert "container/web failed: 10.9.0.0/24 is a route of the host; the engine keeps trying" in user.errors


def test_trying_again_and_again_is_no_progress(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is at it, or waits for the next time; in other words each time, and though each error names another port."""
    monkeypatch.setattr(waiting, "STANDING", 0.5)

    def then(item: Object) -> None:
        def go() -> None:
            for number in range(100):
                backend.objects.report(item, status(False, "Pulling", f"try {number}", reason="Pulling"))
                time.sleep(0.08)
                message = f"nobody answers at port {50000 + number}; it is tried again"
                backend.objects.report(item, status(False, "Retrying", message, reason="Unavailable"))
                time.sleep(0.08)

        threading.Thread(target=go, daemon=True).start()

    backend.then = then
    user = session("apply", "-f", "shop/web.yaml")
    begun = time.monotonic()
    assert run(backend, user) == 1
    assert time.monotonic() - begun < 3
    assert "nobody answers at port" in user.errors


def test_an_error_is_no_progress_and_the_patience_ends_in_time(backend: FakeBackend) -> None:
    def then(item: Object) -> None:
        def go() -> None:
            backend.objects.report(item, status(False, "Pulling", "pull x", reason="Pulling"))
            for words in ("no name server answers", "no route to it", "it closed the connection"):
                time.sleep(0.3)
                backend.objects.report(item, status(False, "Retrying", words, reason="Unavailable"))

        threading.Thread(target=go, daemon=True).start()

    backend.then = then
    begun = time.monotonic()
    assert run(backend, session("apply", "-f", "shop/web.yaml", "--timeout", "700ms")) == 4
    assert 0.6 < time.monotonic() - begun < 1.1


def test_what_may_still_mend_a_failure_is_waited_for(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """One holds the port of the other while it is stopped, and has nothing new to say meanwhile."""
    monkeypatch.setattr(waiting, "STANDING", 0.2)

    def then(item: Object) -> None:
        if item.metadata.name == "new":
            report = status(False, "Creating", "port 80 is container/old's", reason="Conflict")
            backend.objects.report(item, report)
            later(backend, 1.2, (True, "Running", ""))(item)
        else:
            backend.objects.report(item, status(False, "Stopping", "its process is asked to end", reason="Stopping"))
            later(backend, 1.0, (True, "Running", ""))(item)

    backend.then = then
    user = session("apply", "-f", "-", **{"-": two("old", "new")})
    assert run(backend, user) == 0, user.errors


def test_what_is_pruned_is_waited_for_beside_what_takes_its_place(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "STANDING", 0.2)
    old = backend.objects.add(Kind.CONTAINER, "old", {"image": "nginx"}, deletion_timestamp=NOW)
    backend.objects.report(old, status(False, "Deleting", "its process is asked to end"))

    def then(item: Object) -> None:
        backend.objects.report(item, status(False, "Creating", "port 80 is container/old's", reason="Conflict"))

        def go() -> None:
            time.sleep(0.8)
            backend.objects.remove(old.key)
            backend.objects.report(item, status())

        threading.Thread(target=go, daemon=True).start()

    backend.then = then
    plain = backend.apply
    monkeypatch.setattr(backend, "apply", lambda *given, **more: replace(plain(*given, **more), deleted=(old.ref,)))
    user = session("apply", "-f", "shop/web.yaml")
    assert run(backend, user) == 0, user.errors
    assert {"container/old  Deleted", "container/web  Running"} <= set(user.text.splitlines())


def test_a_failure_of_what_is_not_applied_counts_and_is_named(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "STANDING", 0.3)
    network = backend.objects.add(Kind.NETWORK, "front", {})
    backend.objects.report(network, status(False, "Creating", "a route is in the way", reason="Conflict"))
    report = status(False, "Waiting", "network/front is not ready", reason="Waiting")
    backend.then = lambda item: backend.objects.report(item, report)
    user = session("apply", "-f", "shop/web.yaml")
    begun = time.monotonic()
    assert run(backend, user) == 1
    assert time.monotonic() - begun < 3
    why = "network/front is not ready: a route is in the way; the engine keeps trying"
    assert user.errors.splitlines() == [f"lading: container/web failed: {why}"]


def test_what_does_not_exist_does_not_come_by_waiting(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STANDING", 0.3)
    report = status(False, "Waiting", "secret/key does not exist", reason="Waiting")
    backend.then = lambda item: backend.objects.report(item, report)
    user = session("apply", "-f", "shop/web.yaml")
    assert run(backend, user) == 1
    assert "secret/key does not exist; the engine keeps trying" in user.errors


def test_no_line_is_said_twice(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when the loop has only to confirm it, nor when what waits is given up."""
    monkeypatch.setattr(waiting, "STANDING", 0.4)

    def then(item: Object) -> None:
        if item.metadata.name == "web":
            backend.busy.add(item.key)
            backend.objects.report(item, status())

            def confirm() -> None:
                time.sleep(0.1)
                backend.busy.discard(item.key)
                backend.objects.report(item, status())
                time.sleep(0.2)
                backend.busy.add(item.key)
                backend.objects.report(item, status())

            threading.Thread(target=confirm, daemon=True).start()
        elif item.metadata.name == "bad":
            backend.objects.report(item, status(False, "Creating", "no such user", reason="NotFound"))
        else:
            backend.objects.report(item, status(False, "Waiting", "container/bad has not started", reason="Waiting"))

    backend.then = then
    user = session("apply", "-f", "-", **{"-": two("web", "bad", "next")})
    assert run(backend, user) == 1
    said = user.text.splitlines()
    assert len(said) == len(set(said)), said
    assert said.count("container/web  Running") == 1


def test_what_is_tried_over_and_over_is_said_once_and_its_end_in_any_case(backend: FakeBackend) -> None:
    cycle = [(False, "Restarting", "exit code 1"), (False, "Starting", "no answer yet")] * 4
    backend.then = later(backend, 0.05, (False, "Starting", "no answer yet"), *cycle, (True, "Running", ""))
    user = session("apply", "-f", "shop/web.yaml")
    assert run(backend, user) == 0
    said = user.text.splitlines()
    assert said.count("container/web  Starting  no answer yet") == 1
    assert said.count("container/web  Restarting  exit code 1") == 1
    assert said[-1] == "container/web  Running"
