import json
import threading
import time
from collections.abc import Callable

import pytest

from controller.cli import waiting
from controller.plan import Change
from controller.plan import Verb as PlanVerb
from reconcilers.interface import ChangeKind, FieldChange
from resources.kinds import Kind
from resources.object import Object
from tests.unit.controller.cli.fakes import NOW, FakeBackend, FakeSession, ref, run, status

WEB = b"""\
apiVersion: lading/v1
kind: Container
metadata: {name: web}
spec: {image: {name: site}, command: [httpd], networks: [host]}
"""
SITE = b"""\
apiVersion: lading/v1
kind: Image
metadata: {name: site}
spec: {from: {archive: ./site.tar}}
"""
SECRET = b"""\
apiVersion: lading/v1
kind: Secret
metadata: {name: db}
spec: {data: {user: me}, files: {key: ./key.pem}, env: {token: TOKEN}}
"""
FILES = {"shop/web.yaml": WEB, "shop/site.yaml": SITE, "shop/site.tar": b"layers"}


def session(*argv: str, tty: bool = False, **files: bytes) -> FakeSession:
    return FakeSession(*argv, tty=tty, files={**FILES, **files})


def test_apply_reads_sends_writes_and_waits(backend: FakeBackend) -> None:
    user = session("apply", "-f", "shop/web.yaml", "-f", "shop/site.yaml")
    assert run(backend, user) == 0, user.errors
    assert list(backend.uploads.received.values()) == [b"layers"]
    assert user.text.splitlines() == [
        "container/web created",
        "image/site created",
        "container/web  Running",
        "image/site  Running",
    ]


def test_a_second_apply_has_nothing_to_change(backend: FakeBackend) -> None:
    run(backend, session("apply", "-f", "shop/web.yaml"))
    user = session("apply", "-f", "shop/web.yaml")
    assert run(backend, user) == 0
    assert user.text == "nothing to change\n"


def test_every_need_is_fetched_from_the_user(backend: FakeBackend) -> None:
    user = session("apply", "-f", "-", **{"-": SECRET, "key.pem": b"PEM"})
    user.environment["TOKEN"] = "t0ken"
    assert run(backend, user) == 0, user.errors
    contents = backend.applied[0][0][0].contents
    assert {path: content.data for path, content in contents.items()} == {
        "spec.files.key": b"PEM",
        "spec.env.token": b"t0ken",
    }


def test_all_problems_come_in_one_run_with_their_places(backend: FakeBackend) -> None:
    user = session("apply", "-f", "-", **{"-": SECRET + b"---\n" + SITE.replace(b"site.tar", b"none.tar")})
    assert run(backend, user) == 1
    lines = user.errors.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["-:4:39", "-:4:64", "-:9:24"]
    assert "TOKEN is not set" in lines[1]
    assert backend.applied == []


def test_a_manifest_with_an_error_changes_nothing(backend: FakeBackend) -> None:
    user = session("apply", "-f", "-", **{"-": WEB.replace(b"command", b"comand") + b"---\nkind: Contaner\n"})
    assert run(backend, user) == 1
    assert "did you mean command" in user.errors
    assert "did you mean Container" in user.errors
    assert backend.applied == []


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--var", "N=flag", "--var-file", "vars", "--var-env"], "flag"),
        (["--var-file", "vars", "--var-env"], "file"),
        (["--var-env"], "environment"),
        ([], "default"),
    ],
)
def test_variables_by_flag_file_and_environment(backend: FakeBackend, flags: list[str], name: str) -> None:
    manifest = WEB.replace(b"name: web", b'name: "${N:-default}"')
    user = session("apply", "-f", "-", *flags, **{"-": manifest, "vars": b"# names\n\nN=file\n"})
    user.environment["N"] = "environment"
    assert run(backend, user) == 0, user.errors
    assert [item.metadata.name for item in backend.objects.list()] == [name]


@pytest.mark.parametrize("flags", [["--var", "1=2"], ["--var", "x"], ["--var-file", "vars"]])
def test_variables_that_are_none_are_refused(backend: FakeBackend, flags: list[str]) -> None:
    user = session("apply", "-f", "shop/web.yaml", *flags, vars=b"ok=1\nnot a pair\n")
    assert run(backend, user) == 1
    assert "is not of the form K=V" in user.errors


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


def test_no_wait_does_not(backend: FakeBackend) -> None:
    backend.then = lambda item: None
    assert run(backend, session("apply", "-f", "shop/web.yaml", "--no-wait")) == 0


def test_interrupting_the_wait_leaves_the_objects(backend: FakeBackend) -> None:
    backend.then = lambda item: None
    user = session("apply", "-f", "shop/web.yaml")
    until = time.monotonic() + 0.2
    user.interrupted = lambda: time.monotonic() > until
    assert run(backend, user) == 130
    assert backend.objects.find(ref(Kind.CONTAINER, "web")) is not None


def test_an_object_stopped_by_hand_is_not_waited_for(backend: FakeBackend) -> None:
    run(backend, session("apply", "-f", "shop/web.yaml"))
    run(backend, FakeSession("stop", "web"))
    (item,) = backend.objects.list()
    backend.objects.report(item, status(False, "Stopped"))
    user = session("apply", "-f", "shop/web.yaml")
    held = "container/web is stopped by cli (lading start web runs it)\n"
    assert (run(backend, user), user.text) == (0, f"nothing to change\n{held}")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--prune"], "--prune needs --owner"),
        (["--atomic"], "--atomic comes in a later version"),
        (["--timeout", "soon"], "--timeout: 'soon' is not a duration"),
    ],
)
def test_flags_that_do_not_go_are_refused_by_name(backend: FakeBackend, flags: list[str], said: str) -> None:
    user = session("apply", "-f", "shop/web.yaml", *flags)
    assert run(backend, user) == 1
    assert said in user.errors


def test_without_manifests_there_is_nothing_to_apply(backend: FakeBackend) -> None:
    user = session("apply")
    assert run(backend, user) == 1
    assert "which manifests?" in user.errors


def test_dry_run_and_plan_change_nothing_and_send_nothing(backend: FakeBackend) -> None:
    for argv in (["apply", "--dry-run"], ["plan"]):
        user = session(*argv, "-f", "shop/web.yaml", "-f", "shop/site.yaml")
        assert run(backend, user) == 0
        assert "container/web" in user.text
        assert "2 to create" in user.text
    assert (backend.applied, backend.uploads.received) == ([], {})


def test_the_exit_code_of_a_plan(backend: FakeBackend) -> None:
    drift = FieldChange("spec.resources.memory", 1, 2, ChangeKind.HOT, drift=True)
    create = Change(ref(Kind.CONTAINER, "web"), PlanVerb.CREATE)
    drifted = Change(ref(Kind.CONTAINER, "web"), PlanVerb.NONE, ChangeKind.HOT, (drift,))
    unchanged = Change(ref(Kind.CONTAINER, "web"), PlanVerb.NONE)
    codes = {}
    for name, change in (("create", create), ("drift", drifted), ("none", unchanged)):
        backend.planned = (change,)
        for flag in ("", "--exit-code", "--exit-code=drift"):
            codes[name, flag] = run(backend, session("plan", "-f", "shop/web.yaml", *([flag] if flag else [])))
    assert {key for key, code in codes.items() if code == 2} == {
        ("create", "--exit-code"),
        ("create", "--exit-code=drift"),
        ("drift", "--exit-code=drift"),
    }
    assert set(codes.values()) == {0, 2}


def test_a_plan_as_json(backend: FakeBackend) -> None:
    user = session("plan", "-f", "shop/web.yaml", "-o", "json")
    run(backend, user)
    assert [change["name"] for change in json.loads(user.text)["changes"]] == ["web"]


def test_a_saved_plan_applies_the_same_and_keeps_its_secrets(backend: FakeBackend) -> None:
    files = {"-": SECRET + b"---\n" + SITE, "key.pem": b"PEM", "site.tar": b"layers"}
    user = session("plan", "-f", "-", "--out", "shop.plan", **files)
    user.environment["TOKEN"] = "t0ken"
    assert run(backend, user) == 0, user.errors
    assert b"t0ken" not in user.files["shop.plan"]
    later_user = session("apply", "shop.plan", **{"shop.plan": user.files["shop.plan"]})
    later_user.files["/home/user/site.tar"] = b"layers"
    assert run(backend, later_user) == 0, later_user.errors
    (submitted, _, expect) = backend.applied[0]
    assert expect == 0
    assert [s.located.manifest.ref for s in submitted] == [ref(Kind.SECRET, "db"), ref(Kind.IMAGE, "site")]
    assert submitted[0].contents["spec.env.token"].data == b"t0ken"
    assert str(submitted[1].located.where("spec.from.archive")) == "-:9:24"
    assert list(backend.uploads.received.values()) == [b"layers"]


def test_a_stale_plan_touches_nothing(backend: FakeBackend) -> None:
    user = session("plan", "-f", "shop/web.yaml", "--out", "p")
    run(backend, user)
    backend.objects.add(Kind.VOLUME, "other")
    again = session("apply", "p", p=user.files["p"])
    assert run(backend, again) == 3
    assert "the plan is stale" in again.errors
    assert backend.applied == []


def test_what_is_no_plan_is_refused(backend: FakeBackend) -> None:
    user = session("apply", "shop/web.yaml")
    assert run(backend, user) == 1
    assert "not sealed" in user.errors


def test_delete_by_name_by_file_and_everything(backend: FakeBackend) -> None:
    for argv in (["container/web"], ["-f", "shop/web.yaml"], ["--all"]):
        run(backend, session("apply", "-f", "shop/web.yaml"))
        user = session("delete", *argv, "--data")
        assert run(backend, user) == 0, user.errors
        assert user.text == "container/web  Deleted\n"
    assert backend.deleted == [([ref(Kind.CONTAINER, "web")], {"data": True, "cascade": False, "force": False})] * 3


def test_delete_of_what_is_not_there(backend: FakeBackend) -> None:
    user = session("delete", "volume/orders")
    assert run(backend, user) == 1
    assert "there is no volume/orders in namespace default" in user.errors
    for argv in (["-f", "shop/web.yaml"], ["--all"]):
        user = session("delete", *argv)
        assert (run(backend, user), user.text) == (0, "nothing to delete\n")


def test_retained_data_goes_with_its_name_when_data_is_named(backend: FakeBackend) -> None:
    kept = [
        ref(Kind.VOLUME, name, namespace) for name, namespace in (("a", "default"), ("b", "default"), ("a", "other"))
    ]
    backend.retained.refs = list(kept)
    assert run(backend, session("delete", "volume/a")) == 1
    assert backend.retained.refs == kept
    assert run(backend, session("delete", "volume/a", "--data")) == 0
    assert backend.retained.refs == kept[1:]
    assert run(backend, session("delete", "--all")) == 0
    assert backend.retained.refs == kept[1:]
    user = session("delete", "--all", "--data")
    assert run(backend, user) == 0
    assert backend.retained.refs == kept[2:]
    assert "the retained data of volume/b is deleted" in user.errors


def test_delete_all_is_of_one_namespace(backend: FakeBackend) -> None:
    backend.objects.add(Kind.VOLUME, "here")
    backend.objects.add(Kind.VOLUME, "there", namespace="other")
    assert run(backend, session("delete", "--all", "-n", "other")) == 0
    assert [item.metadata.name for item in backend.objects.list()] == ["here"]


@pytest.mark.parametrize("argv", [[], ["web", "--all"], ["web", "-f", "shop/web.yaml"]])
def test_delete_needs_to_know_what(backend: FakeBackend, argv: list[str]) -> None:
    user = session("delete", *argv)
    assert run(backend, user) == 1
    assert "say what to delete" in user.errors


def test_validate_needs_no_engine_and_warns_of_what_only_a_store_knows() -> None:
    user = session("validate", "-f", "shop/web.yaml")
    assert run(None, user) == 0
    assert user.text == "1 manifest is valid\n"
    assert "warning: spec.image.name: there is no image/site in this input" in user.errors
    user = session("validate", "-f", "-", **{"-": WEB + b"---\n" + SECRET + b"extra: 1\n"})
    assert run(None, user) == 1
    assert "-:10:1: extra" in user.errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WEB.replace(b"command:", b"dependsOn: [web], command:"), "error container/web needs container/web (-:4:"),
        (
            b"---\n".join(
                WEB.replace(b"name: web", b"name: " + own).replace(
                    b"command:", b"dependsOn: [" + other + b"], command:"
                )
                for own, other in ((b"a", b"b"), (b"b", b"a"))
            ),
            "error container/a needs container/b (-:4:",
        ),
        (SITE, "warning: spec.from.archive: site.tar: no such file or directory"),
        (SECRET, "warning: spec.files.key: key.pem: no such file"),
        (
            WEB.replace(b"command:", b"envFile: [./web.env], command:"),
            "warning: spec.envFile[0]: web.env: no such file",
        ),
        (
            WEB.replace(b"{name: site}", b"nginx"),
            "warning: spec.image: no Image in this input has the tag docker.io/library/nginx:latest",
        ),
        (b"# nothing\n", "error lading: there are no manifests in -"),
    ],
)
def test_validate_tells_what_the_input_shows_by_itself(text: bytes, said: str) -> None:
    user = session("validate", "-f", "-", **{"-": text})
    assert run(None, user) == said.startswith("error ")
    assert said.removeprefix("error ") in user.errors


def test_validate_is_content_with_an_image_of_that_tag_and_files_that_are_there() -> None:
    site = SITE.replace(b"{from:", b"{tags: [nginx], from:")
    web = WEB.replace(b"{name: site}", b"nginx")
    user = session("validate", "-f", "-", **{"-": site + b"---\n" + web, "site.tar": b"x"})
    assert (run(None, user), user.errors) == (0, "")


def test_an_empty_input_is_an_error_but_for_pruning(backend: FakeBackend) -> None:
    user = session("apply", "-f", "-", **{"-": b"---\n"})
    assert run(backend, user) == 1
    assert "there are no manifests in -" in user.errors
    assert run(backend, session("apply", "--prune", "--owner", "me", "-f", "-", **{"-": b""})) == 0


def test_verbs_that_need_an_engine_say_so() -> None:
    user = session("apply", "-f", "shop/web.yaml")
    assert run(None, user) == 1
    assert "no engine runs here" in user.errors
