"""The native API of a running engine, spoken by curl as anybody would."""

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines import Engine
from tests.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(300), pytest.mark.usefixtures("images")]
CANARY = "a-canary-that-no-answer-may-hold"


class Api:
    def __init__(self, engine: Engine) -> None:
        self.socket = engine.run_root / "lading.sock"

    def __call__(self, method: str, path: str, body: Any = None, *arguments: str) -> tuple[int, Any]:
        words = [
            "curl",
            "-sS",
            "--max-time",
            "60",
            "--unix-socket",
            str(self.socket),
            "-X",
            method,
            "-w",
            "\n%{http_code}",
        ]
        if body is not None:
            words += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
        given = None if body is None else json.dumps(body)
        url = f"http://localhost/apis/lading/v1{path}"
        answer = subprocess.run([*words, *arguments, url], input=given, capture_output=True, text=True, check=True)
        text, _, code = answer.stdout.rpartition("\n")
        return int(code), json.loads(text) if text else None


@pytest.fixture
def api(engine: Callable[[], Engine]) -> Api:
    lading = engine()
    lading("get", "container")  # starts it
    made = Api(lading)
    until(made.socket.exists)
    return made


def manifests(text: str = "first") -> list[dict[str, Any]]:
    head = {"apiVersion": "lading/v1"}
    return [
        {
            **head,
            "kind": "Image",
            "metadata": {"name": "busybox"},
            "spec": {"from": {"archive": "busybox.tar"}},
        },
        {**head, "kind": "Secret", "metadata": {"name": "token"}, "spec": {"data": {"value": CANARY}}},
        {**head, "kind": "Config", "metadata": {"name": "page"}, "spec": {"data": {"text": text}}},
        {
            **head,
            "kind": "Container",
            "metadata": {"name": "sleeper", "labels": {"app": "test"}},
            "spec": {
                "image": {"name": "busybox"},
                "command": ["sleep", "infinity"],
                "networks": ["none"],
                "stop": {"signal": "SIGKILL"},
                "env": {"TOKEN": {"secret": "token", "key": "value"}},
                "mounts": [{"config": "page", "target": "/page"}],
            },
        },
    ]


def upload(api: Api, path: Path) -> dict[str, Any]:
    digest = (
        "sha256:" + subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    )
    sending = ("-H", "Content-Type: application/octet-stream", "--data-binary", f"@{path}")
    assert api("PUT", f"/uploads/{digest}", None, *sending)[0] == 201
    return {"digest": digest, "size": path.stat().st_size}


def ready(api: Api) -> dict[str, Any] | None:
    code, shown = api("GET", "/containers/default/sleeper")
    assert code == 200
    return shown if shown.get("status", {}).get("phase") == "Running" else None


def test_from_manifests_to_a_container_and_back(api: Api, images: Path) -> None:
    assert stat.S_IMODE(os.stat(api.socket).st_mode) == 0o660
    assert api("GET", "/healthz")[1]["status"] == "ok"
    contents = {"busybox.tar": upload(api, images / "busybox.tar")}
    body = {"manifests": manifests(), "contents": contents, "owner": "api-test"}
    code, plan = api("POST", "/plan", body)
    assert (code, {change["verb"] for change in plan["changes"]}) == (200, {"create"})
    assert api("GET", "/containers")[1]["items"] == []

    code, applied = api("POST", "/apply", body)
    assert (code, len(applied["created"])) == (200, 4)
    running = until(lambda: ready(api), 60)
    assert Path(f"/proc/{running['status']['pid']}").exists()
    code, again = api("POST", "/apply", body)
    assert (code, len(again["unchanged"])) == (200, 4)
    assert ready(api)["status"]["pid"] == running["status"]["pid"]  # type: ignore[index]

    shown = [api("GET", path)[1] for path in ("/secrets", "/containers", "/events", "/configs", "/version")]
    assert CANARY not in json.dumps([plan, applied, *shown])
    assert [event["reason"] for event in shown[2]["events"]]

    code, refusal = api("DELETE", "/images/default/busybox")
    assert (code, refusal["code"]) == (409, "FailedPrecondition")
    assert "sleeper" in refusal["message"]
    pruned = {**body, "manifests": manifests()[:1], "prune": True}
    assert len(api("POST", "/apply", pruned)[1]["deleted"]) == 3
    until(lambda: api("GET", "/containers")[1]["items"] == [], 30)
    assert not Path(f"/proc/{running['status']['pid']}").exists()


def test_stop_start_and_kill(api: Api, images: Path) -> None:
    contents = {"busybox.tar": upload(api, images / "busybox.tar")}
    assert api("POST", "/apply", {"manifests": manifests(), "contents": contents})[0] == 200
    first = until(lambda: ready(api), 60)["status"]["pid"]

    def phase() -> str:
        return str(api("GET", "/containers/default/sleeper")[1]["status"]["phase"])

    assert api("POST", "/containers/default/sleeper/pause", {})[0] == 202
    until(lambda: phase() == "Paused", 30)
    assert api("POST", "/containers/default/sleeper/resume", {})[0] == 202
    assert until(lambda: ready(api), 30)["status"]["pid"] == first
    assert api("POST", "/containers/default/sleeper/stop", {})[0] == 202
    until(lambda: phase() == "Stopped", 30)
    assert api("POST", "/containers/default/sleeper/start", {})[0] == 202
    second = until(lambda: ready(api), 30)["status"]["pid"]
    assert second != first
    assert api("POST", "/containers/default/sleeper/kill?signal=SIGKILL", {})[0] == 200
    until(lambda: phase() in ("Failed", "Completed"), 30)


def test_a_watch_tells_of_a_container_until_it_is_gone(api: Api, images: Path) -> None:
    contents = {"busybox.tar": upload(api, images / "busybox.tar")}
    revision = api("GET", "/containers")[1]["resourceVersion"]
    url = f"http://localhost/apis/lading/v1/containers?watch=1&labelSelector=app=test&resourceVersion={revision}"
    words = ["curl", "-sSN", "--max-time", "60", "--unix-socket", str(api.socket), url]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watch:
        try:
            assert watch.stdout
            assert api("POST", "/apply", {"manifests": manifests(), "contents": contents})[0] == 200
            phases: list[str] = []
            for line in watch.stdout:
                event = json.loads(line)
                if event["type"] == "DELETED":
                    break
                phase = event["object"].get("status", {}).get("phase", "")
                phases.append(phase)
                if phase == "Running" and phases.count("Running") == 1:
                    assert api("DELETE", "/containers/default/sleeper")[0] == 202
            assert "Running" in phases
        finally:
            watch.kill()


def test_what_is_wrong_is_said_with_its_place(api: Api) -> None:
    wrong = manifests()[3]
    wrong["spec"]["comand"] = ["x"]
    code, refusal = api("POST", "/apply", {"manifests": [wrong]})
    assert (code, refusal["code"]) == (422, "Invalid")
    assert refusal["problems"][0]["path"] == "spec.comand"
    dangling = manifests()[3]
    code, refusal = api("POST", "/apply", {"manifests": [dangling]})
    assert code == 422
    assert "image/busybox" in json.dumps(refusal)
    assert api("GET", "/containers")[1]["items"] == []
