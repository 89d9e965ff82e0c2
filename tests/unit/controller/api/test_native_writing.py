"""What the native API changes, and what it answers when that cannot be."""

import json
from typing import Any

from resources.container import ContainerSpec
from resources.errors import Conflict
from resources.kinds import Kind
from resources.meta import Ref, Status
from tests.unit.controller.api.backend import made
from tests.unit.controller.api.client import SLEEPER, Client, container

CANARY = "hunter2-canary"


def test_applies_one_manifest(client: Client) -> None:
    answer = client("PUT", "/containers/default/web?owner=me&adopt=1", SLEEPER)
    assert (answer.status, answer.body["created"]) == (
        201,
        [{"kind": "Container", "namespace": "default", "name": "web"}],
    )
    _, options = client.backend.applied[0]
    assert (options.manager, options.owner, options.adopt, options.prune) == ("api", "me", True, False)
    assert client("PUT", "/containers/default/web", {"spec": SLEEPER["spec"]}).body["unchanged"]
    changed = client("PUT", "/containers/default/web", {"spec": {**SLEEPER["spec"], "tty": True}})
    assert (changed.status, len(changed.body["changed"])) == (200, 1)


def test_the_address_and_the_body_must_agree(client: Client) -> None:
    answer = client("PUT", "/containers/default/other", SLEEPER)
    assert (answer.status, answer.body["code"]) == (400, "InvalidArgument")
    assert "'web' in the body and 'other' in the address" in answer.body["message"]
    assert client("PUT", "/containers/default/web", {"metadata": 1}).status == 400
    assert client.backend.applied == []


def test_a_dry_run_and_a_plan_change_nothing(client: Client) -> None:
    for answer in (
        client("PUT", "/containers/default/web?dryRun", SLEEPER),
        client("POST", "/apply", {"manifests": [SLEEPER], "dryRun": True}),
        client("POST", "/plan", {"manifests": [SLEEPER]}),
    ):
        assert [change["verb"] for change in answer.body["changes"]] == ["create"]
    assert client.backend.applied == []


def test_applies_many_with_contents_and_variables(client: Client) -> None:
    digest = "sha256:" + "a" * 64
    manifests = [
        {
            "apiVersion": "lading/v1",
            "kind": "Secret",
            "metadata": {"name": "tls", "namespace": "shop"},
            "spec": {"files": {"key": "./tls.key"}, "env": {"token": "CI_TOKEN"}, "data": {"a": "${WORD} \x7f😀"}},
        },
        {
            "apiVersion": "lading/v1",
            "kind": "Image",
            "metadata": {"name": "nginx"},
            "spec": {"from": {"archive": "./nginx.tar"}},
        },
    ]
    body = {"manifests": manifests, "namespace": "shop", "variables": {"WORD": "yes"}, "owner": "ci", "prune": True}
    missing = client("POST", "/apply", body)
    assert (missing.status, missing.body["code"]) == (400, "InvalidArgument")
    assert "opens no path of a client" in missing.body["message"]

    contents: dict[str, Any] = {
        "tls.key": {"base64": "a2V5"},
        "CI_TOKEN": {"text": "t"},
        "nginx.tar": {"digest": digest, "size": 3},
    }
    answer = client("POST", "/apply", {**body, "contents": contents})
    assert (answer.status, answer.body["code"]) == (409, "FailedPrecondition")
    assert f"PUT /apis/lading/v1/uploads/{digest}" in answer.body["hint"]

    sent = client("PUT", f"/uploads/{digest}", data=b"tar", headers={"Content-Type": "application/octet-stream"})
    assert (sent.status, client.backend.received) == (201, {digest: b"tar"})
    answer = client("POST", "/apply", {**body, "contents": contents})
    assert (answer.status, len(answer.body["created"])) == (200, 2)
    submissions, options = client.backend.applied[0]
    assert (options.owner, options.prune, options.only_namespace) == ("ci", True, "shop")
    secret, image = submissions
    assert {content.data for content in secret.contents.values()} == {b"key", b"t"}
    assert secret.located.manifest.spec.data["a"] == "yes \x7f😀"
    assert [(content.digest, content.size) for content in image.contents.values()] == [(digest, 3)]


def test_every_problem_of_every_manifest_is_told(client: Client) -> None:
    manifests = [{**SLEEPER, "spec": {**SLEEPER["spec"], "comand": ["x"]}}, {**SLEEPER, "kind": "Contaner"}]
    answer = client("POST", "/apply", {"manifests": manifests})
    assert (answer.status, answer.body["code"]) == (422, "Invalid")
    assert [problem["file"] for problem in answer.body["problems"]] == ["manifests[0]", "manifests[1]"]
    assert answer.body["problems"][0]["path"] == "spec.comand"
    assert "did you mean" in answer.body["problems"][0]["message"]
    assert client.backend.applied == []


def test_errors_of_the_engine(client: Client) -> None:
    client.backend.put(container(owner="ci"))
    answer = client("PUT", "/containers/default/web", SLEEPER)
    assert (answer.status, answer.body["code"]) == (409, "Conflict")
    client.backend.used.add(Ref(kind=Kind.CONTAINER, namespace="default", name="web"))
    answer = client("DELETE", "/containers/default/web")
    assert (answer.status, answer.body["code"]) == (409, "FailedPrecondition")
    assert "cascade" in answer.body["hint"]
    client.backend.fail = RuntimeError(f"no user should see {CANARY}")
    answer = client("GET", "/containers/default/web")
    assert (answer.status, answer.body["code"]) == (500, "Internal")
    assert CANARY not in json.dumps(answer.body)
    client.backend.fail = ExceptionGroup("two", [Conflict("one"), Conflict("another")])
    answer = client("GET", "/containers/default/web")
    assert (answer.status, [problem["message"] for problem in answer.body["problems"]]) == (409, ["one", "another"])


def test_deletes_with_what_was_asked(client: Client) -> None:
    client.backend.put(container())
    answer = client("DELETE", "/containers/default/web?data=1&cascade")
    assert (answer.status, answer.body) == (
        202,
        {"deleted": [{"kind": "Container", "namespace": "default", "name": "web"}]},
    )
    assert client.backend.deletions == [{"data": True, "cascade": True, "force": False}]


def test_verbs_edit_desired_state(client: Client) -> None:
    item = container()
    client.backend.put(item)
    client.backend.put(item, Status(phase="Running"))

    def now() -> Any:
        return client.backend.get(item.key)

    assert client("POST", "/containers/default/web/pause").status == 202
    assert (now().suspension.state, now().suspension.by) == ("paused", "api")
    assert client("POST", "/containers/default/web/resume").body.get("suspension") is None
    assert (now().suspension, now().restart_request) == (None, "")
    answer = client("POST", "/containers/default/web/resume")
    assert (answer.status, answer.body["code"]) == (409, "FailedPrecondition")
    assert client("POST", "/containers/default/web/stop").body["suspension"]["state"] == "stopped"
    assert client("POST", "/containers/default/web/start").status == 202
    assert (now().suspension, now().restart_request) == (None, "")
    assert client("POST", "/containers/default/web/start").status == 202
    assert now().restart_request == ""
    assert client("POST", "/containers/default/web/restart").status == 202
    assert now().restart_request != ""
    assert client.backend.edits[:2] == [("api", "Paused"), ("api", "Resumed")]


def test_what_has_ended_is_started_again_and_cannot_be_paused(client: Client) -> None:
    client.backend.put(container(), Status(phase="Completed"))
    assert client("POST", "/containers/default/web/pause").body["code"] == "FailedPrecondition"
    assert client("POST", "/containers/default/web/start").status == 202
    assert client.backend.list()[0].restart_request != ""


def test_what_the_manifest_stops_is_not_started_by_hand(client: Client) -> None:
    client.backend.put(made(Kind.CONTAINER, "web", ContainerSpec.parse({"image": "busybox", "state": "stopped"})))
    for verb in ("start", "restart"):
        answer = client("POST", f"/containers/default/web/{verb}")
        assert (answer.status, answer.body["code"]) == (409, "FailedPrecondition")


def test_kill_is_an_operation(client: Client) -> None:
    client.backend.put(container())
    assert client("POST", "/containers/default/web/kill?signal=SIGHUP").status == 200
    assert [signal for _, signal in client.backend.signals] == ["SIGHUP"]
    assert client.backend.edits == []
