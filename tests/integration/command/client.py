"""A user with one namespace of an engine, and the manifests this user writes."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.engines import CHECKOUT, Engine
from tests.integration.command.outside import Process, process, until

Document = dict[str, Any]
ARCHIVE = CHECKOUT / ".cache" / "images" / "busybox.tar"
FOREVER = "exec sleep 100000"


def document(kind: str, name: str, **spec: Any) -> Document:
    return {"apiVersion": "lading/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def container(name: str, script: str = FOREVER, **spec: Any) -> Document:
    """A shell's script in busybox, with no network, that is killed at once when it is to stop."""
    given = {"image": {"name": "bb"}, "command": ["sh", "-c", script], "networks": ["none"], "stop": {"timeout": "0s"}}
    return document("Container", name, **given | spec)


IMAGE = document("Image", "bb", **{"from": {"archive": str(ARCHIVE)}})


class Client:
    def __init__(self, engine: Engine, namespace: str) -> None:
        self.engine = engine
        self.namespace = namespace

    def __call__(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.engine("-n", self.namespace, *arguments, **options)

    @property
    def command(self) -> list[str]:
        return [*self.engine.command, "-n", self.namespace]

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self(*arguments, "-o", "json").stdout)

    def apply(self, *documents: Document, flags: tuple[str, ...] = (), check: bool = True) -> str:
        """Apply these and the image."""
        answer = self("apply", "-f", "-", *flags, check=check, stdin=text(*documents))
        return answer.stdout + answer.stderr

    def plan(self, *documents: Document) -> dict[str, dict[str, tuple[str, str, str]]]:
        """`Kind/name` -> field -> kind of change, old and new, as the text of a plan says it."""
        answer = self("plan", "-f", "-", "-o", "json", stdin=text(*documents))
        return {
            f"{change['kind']}/{change['name']}": {
                field["path"]: (field["change"], field["old"], field["new"]) for field in change["fields"]
            }
            for change in json.loads(answer.stdout)["changes"]
            if change["fields"]
        }

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.json("get", "container", name)["status"]
        return found

    def phase(self, name: str) -> str:
        found: str = self.status(name)["phase"]
        return found

    def process(self, name: str) -> Process:
        """What runs, which must be in the container's own control group."""

        def found() -> Process | None:
            status = self.status(name)
            one = process(status.get("pid") or 0)
            mine = one and status["containerId"] in Path(f"/proc/{one.pid}/cgroup").read_text()
            return one if mine else None

        return until(found, what=f"{name} runs")

    def inside(self, name: str, script: str) -> str:
        return self("exec", name, "--", "sh", "-c", script).stdout


def text(*documents: Document) -> str:
    return "\n---\n".join(json.dumps(one) for one in (IMAGE, *documents))
