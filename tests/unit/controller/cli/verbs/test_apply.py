import json
import threading
import time
from collections.abc import Sequence

import pytest

from controller.plan import Change
from controller.plan import Verb as PlanVerb
from reconcilers.interface import ChangeKind, FieldChange
from resources.kinds import Kind
from resources.meta import Ref
from tests.unit.controller.cli.fakes import NOW, FakeBackend, FakeSession, ref, run, status
from tests.unit.controller.cli.shop import SECRET, SITE, WEB, session


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


def test_no_wait_does_not(backend: FakeBackend) -> None:
    backend.then = lambda item: None
    assert run(backend, session("apply", "-f", "shop/web.yaml", "--no-wait")) == 0


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
    assert run(backend, user) == 2
    assert said in user.errors


def test_without_manifests_there_is_nothing_to_apply(backend: FakeBackend) -> None:
    user = session("apply")
    assert run(backend, user) == 2
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


def test_delete_all_asks_for_nothing_implied_and_waits_for_it_all_the_same(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx"})
    bridge = backend.objects.add(Kind.NETWORK, "bridge", {}, implied=True)
    backend.objects.report(bridge, status())
    backend.edges = [(web.ref, bridge.ref, "ready")]
    delete = backend.delete

    def deleted(refs: Sequence[Ref], **flags: bool) -> tuple[Ref, ...]:
        marked = delete(refs, data=False, cascade=False, force=False)

        def goes() -> None:
            time.sleep(0.1)
            ending = bridge.metadata.model_copy(update={"deletion_timestamp": NOW})
            backend.objects.put(bridge.model_copy(update={"metadata": ending}))
            time.sleep(0.1)
            backend.objects.remove(bridge.key)

        threading.Thread(target=goes).start()
        return marked

    monkeypatch.setattr(backend, "delete", deleted)
    user = session("delete", "--all")
    assert run(backend, user) == 0, user.errors
    assert [refs for refs, _ in backend.deleted] == [[web.ref]]
    lines = ["container/web  Deleted", "network/bridge  Running  goes with its last user"]
    lines += ["network/bridge  Deleting", "network/bridge  Deleted"]
    assert user.text.splitlines() == lines


def test_what_goes_by_itself_before_it_is_deleted_is_no_error(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = backend.objects.add(Kind.CONTAINER, "job", {"image": "nginx"})
    backend.objects.add(Kind.VOLUME, "data")
    delete = backend.delete

    def late(refs: Sequence[Ref], **flags: bool) -> tuple[Ref, ...]:
        backend.objects.remove(job.key)
        return delete(refs, data=False, cascade=False, force=False)

    monkeypatch.setattr(backend, "delete", late)
    user = session("delete", "--all")
    assert (run(backend, user), user.errors) == (0, "")
    assert user.text == "volume/data  Deleted\n"
    backend.objects.put(job)
    assert run(backend, session("delete", "container/job")) == 1


@pytest.mark.parametrize("argv", [[], ["web", "--all"], ["web", "-f", "shop/web.yaml"]])
def test_delete_needs_to_know_what(backend: FakeBackend, argv: list[str]) -> None:
    user = session("delete", *argv)
    assert run(backend, user) == 2
    assert "say what to delete" in user.errors


def test_an_empty_input_is_an_error_but_for_pruning(backend: FakeBackend) -> None:
    user = session("apply", "-f", "-", **{"-": b"---\n"})
    assert run(backend, user) == 1
    assert "there are no manifests in -" in user.errors
    assert run(backend, session("apply", "--prune", "--owner", "me", "-f", "-", **{"-": b""})) == 0


def test_verbs_that_need_an_engine_say_so() -> None:
    user = session("apply", "-f", "shop/web.yaml")
    assert run(None, user) == 1
    assert "no engine runs here" in user.errors
