"""Every example, by the command a user types, on the real host; what it promises is checked from outside."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines import CHECKOUT, Engine
from tests.machines import Machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(600), pytest.mark.usefixtures("images")]
EXAMPLES = CHECKOUT / "examples"
SHOP = EXAMPLES / "02-shop"
PAGE = "https://localhost:18443"


class Host(Engine):
    """An engine on a machine of its own, and what is asked on that machine."""

    def ask(self, url: str, *arguments: str | Path) -> str:
        """What curl gets, with the status after it."""
        words = [*self.prefix, "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", *map(str, arguments), url]
        answer = subprocess.run(words, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def refused(self, url: str) -> bool:
        words = [*self.prefix, "curl", "-sk", "--max-time", "5", url]
        return subprocess.run(words, capture_output=True, check=False).returncode == 7


@pytest.fixture
def lading(machines: Machines, engine: Callable[..., Host]) -> Host:
    return engine(machines.host.prefix, Host)


@pytest.fixture
def registry(machines: Machines, tmp_path: Path) -> Iterator[None]:
    """That of script/registry, at the same address of the engine's machine."""
    script = (*machines.host.prefix, CHECKOUT / "script" / "registry")
    environment = {**os.environ, "LADING_REGISTRY": str(tmp_path / "registry")}
    for word in ("start", "push"):
        subprocess.run([*script, word], check=True, env=environment)
    yield
    subprocess.run([*script, "stop"], check=True, env=environment)


def phases(lading: Host) -> dict[str, str]:
    items = lading.json("get", "container")["items"]
    return {item["metadata"]["name"]: item["status"]["phase"] for item in items}


def status(lading: Host, name: str) -> dict[str, Any]:
    found: dict[str, Any] = lading.json("get", "container", name)["status"]
    return found


def change_kinds(lading: Host, folder: Path) -> dict[str, set[str]]:
    """What a plan calls the changes of each object that has any."""
    changes = lading.json("plan", "-f", folder)["changes"]
    return {
        f"{change['kind']}/{change['name']}": {field["change"] for field in change["fields"]}
        for change in changes
        if change["fields"]
    }


def variant(folder: Path, base: Path) -> Path:
    """A copy of an example that may be changed, with what it names beside it."""
    (base / ".cache").symlink_to(CHECKOUT / ".cache")
    return shutil.copytree(folder, base / "examples" / folder.name)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def check_settled(lading: Host, folder: Path) -> None:
    """What is applied is all there is to do, and nothing was touched by saying so."""
    before = {item["metadata"]["uid"]: item["status"] for item in lading.json("get", "all")["items"]}
    again = lading("apply", "-f", folder)
    assert again.stdout == "nothing to change\n"
    plan = lading("plan", "-f", folder, "--exit-code=drift", check=False)
    assert plan.returncode == 0, plan.stdout
    assert [
        c for c in lading.json("plan", "-f", folder)["changes"] if c["verb"] != "none" or c["fields"] or c["actions"]
    ] == []
    after = {item["metadata"]["uid"]: item["status"] for item in lading.json("get", "all")["items"]}
    assert {uid: (s.get("pid"), s.get("startedAt")) for uid, s in after.items()} == {
        uid: (s.get("pid"), s.get("startedAt")) for uid, s in before.items()
    }


@pytest.mark.parametrize("folder", sorted(EXAMPLES.glob("[0-9]*")), ids=lambda folder: folder.name)
def test_each_validates_and_says_what_it_is(lading: Host, folder: Path) -> None:
    if (folder / "certificate").exists():
        subprocess.run([folder / "certificate"], check=True)
    assert "valid" in lading("validate", "-f", folder).stdout
    readme = (folder / "README.md").read_text()
    assert f"lading apply -f examples/{folder.name}" in readme
    assert f"]({folder.name})" in (EXAMPLES / "README.md").read_text()


def test_the_readmes_manifest(lading: Host, tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert text
    manifest = tmp_path / "hello.yaml"
    manifest.write_text(text[1].replace(".cache", f"{CHECKOUT}/.cache"))
    lading("apply", "-f", manifest)
    assert lading.ask("http://127.0.0.1:18084/") == "hello from a container\n\n200"
    check_settled(lading, manifest)
    lading("delete", "-f", manifest)
    assert lading.refused("http://127.0.0.1:18084/")


def test_hello(lading: Host) -> None:
    folder = EXAMPLES / "01-hello"
    lading("apply", "-f", folder)
    assert lading.ask("http://127.0.0.1:18080/") == "hello from a container\n\n200"
    check_settled(lading, folder)
    assert phases(lading) == {"hello": "Running"}
    lading("delete", "-f", folder)
    assert lading.refused("http://127.0.0.1:18080/")
    assert lading.json("get", "all")["items"] == []


@pytest.fixture
def certificate() -> Path:
    subprocess.run([SHOP / "certificate"], check=True)
    return SHOP / "tls.crt"


def order(lading: Host, item: str, certificate: Path) -> None:
    body = json.dumps({"item": item, "quantity": 2})
    assert lading.ask(f"{PAGE}/orders", "--cacert", certificate, "-d", body).endswith("\n201")


def orders(lading: Host, certificate: Path) -> list[str]:
    text, _, code = lading.ask(f"{PAGE}/orders", "--cacert", certificate).rpartition("\n")
    assert code == "200", text
    return [one["item"] for one in json.loads(text)]


@pytest.mark.usefixtures("registry")
def test_shop(lading: Host, certificate: Path) -> None:
    lading("apply", "-f", SHOP, timeout=300)
    assert phases(lading) == dict.fromkeys(("database", "cache", "app", "front"), "Running")
    order(lading, "tea", certificate)
    assert orders(lading, certificate) == ["tea"]
    assert "<li>2 x tea</li>" in lading.ask(f"{PAGE}/", "--cacert", certificate)
    assert lading("exec", "app", "--", "getent", "hosts", "database").stdout.split()[1] == "database"
    assert lading("exec", "front", "--", "getent", "hosts", "database", check=False).returncode == 2
    check_settled(lading, SHOP)

    objects = [item for item in lading.json("get", "all")["items"] if not item["metadata"].get("implied")]
    others = [f"{item['kind']}/{item['metadata']['name']}" for item in objects if item["kind"] != "Volume"]
    assert len(others) == 9
    lading("delete", *others, timeout=300)
    assert lading.refused(PAGE)
    lading("apply", "-f", SHOP, timeout=300)
    assert orders(lading, certificate) == ["tea"]

    # The volume's object too: its data stays, and the same name takes it back.
    lading("delete", "-f", SHOP, timeout=300)
    assert lading.json("get", "all")["items"] == []
    lading("apply", "-f", SHOP, timeout=300)
    order(lading, "cake", certificate)
    assert orders(lading, certificate) == ["cake", "tea"]


@pytest.mark.usefixtures("registry")
def test_shop_is_served_with_the_secrets_certificate(lading: Host, certificate: Path) -> None:
    lading("apply", "-f", SHOP, timeout=300)
    client = "openssl s_client -connect 127.0.0.1:18443 -servername localhost -CAfile"
    served = subprocess.run(
        [*lading.prefix, *client.split(), certificate],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "Verify return code: 0 (ok)" in served
    assert _certificate(served) == _certificate(certificate.read_text())
    key = (SHOP / "tls.key").read_text().splitlines()[1]
    shown = [lading("get", "all", "-o", form).stdout for form in ("json", "yaml", "manifest")]
    shown += [lading("describe", "secret/tls").stdout, lading("events").stdout, lading("logs", "front").stdout]
    assert [text for text in shown if key in text] == []


def _certificate(text: str) -> str:
    match = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    assert match
    return match[0]


def test_jobs(lading: Host, tmp_path: Path) -> None:
    folder = EXAMPLES / "03-jobs"
    lading("apply", "-f", folder, timeout=300)
    assert phases(lading) == {"migrate-1": "Completed", "migrate-2": "Completed", "report": "Running"}
    assert lading.ask("http://127.0.0.1:18082/") == "opening: 100\n\n200"
    assert "migrated to 1" in lading("logs", "migrate-1").stdout
    assert "migrated to 2" in lading("logs", "migrate-2").stdout
    first, second, report = (status(lading, name) for name in ("migrate-1", "migrate-2", "report"))
    assert (first["exitCode"], second["exitCode"]) == (0, 0)
    assert first["finishedAt"] <= second["startedAt"]
    assert second["finishedAt"] <= report["startedAt"]
    check_settled(lading, folder)

    changed = variant(folder, tmp_path)
    change(changed / "migrate.py", "migrated to", "brought to")
    kinds = change_kinds(lading, changed)
    assert set(kinds) == {"Config/jobs", "Container/migrate-1", "Container/migrate-2", "Container/report"}
    lading("delete", "-f", folder)
    assert lading.refused("http://127.0.0.1:18082/")


def test_secrets_and_config(lading: Host, tmp_path: Path) -> None:
    folder = EXAMPLES / "04-secrets-and-config"
    lading("apply", "-f", folder)
    assert lading.ask("http://127.0.0.1:18083/index.html") == "the first text\n\n200"
    inside = lading("exec", "page", "--", "sh", "-c", "echo $MOTTO, $VISITOR; ls -lL /run/secrets/token/").stdout
    assert inside.startswith("as declared, visitor\n")
    assert len(re.findall(r"^-r-------- .* (?:name|value)$", inside, re.MULTILINE)) == 2
    check_settled(lading, folder)

    secret = lading("exec", "page", "--", "cat", "/run/secrets/token/value").stdout
    assert len(secret) == 24
    shown = [lading("get", "all", "-o", form).stdout for form in ("json", "yaml", "manifest", "wide")]
    shown += [lading("describe", "secret/token").stdout, lading("events").stdout]
    assert [text for text in shown if secret in text] == []

    before = status(lading, "page")
    changed = variant(folder, tmp_path)
    change(changed / "manifest.yaml", "the first text", "the second text")
    assert change_kinds(lading, changed) == {"Config/page": {"hot"}, "Container/page": {"hot"}}
    lading("apply", "-f", changed)
    assert lading.ask("http://127.0.0.1:18083/index.html") == "the second text\n\n200"
    assert (status(lading, "page")["pid"], status(lading, "page")["startedAt"]) == (before["pid"], before["startedAt"])

    change(changed / "manifest.yaml", "motto: as declared", "motto: as changed")
    assert "recreate" in change_kinds(lading, changed)["Container/page"]
    lading("apply", "-f", changed)
    assert lading("exec", "page", "--", "sh", "-c", "echo $MOTTO").stdout == "as changed\n"
    assert status(lading, "page")["pid"] != before["pid"]
    # What the engine made once stays.
    assert lading("exec", "page", "--", "cat", "/run/secrets/token/value").stdout == secret
    check_settled(lading, changed)


@pytest.mark.usefixtures("registry")
def test_networks(lading: Host) -> None:
    folder = EXAMPLES / "05-networks"
    lading("apply", "-f", folder, timeout=300)
    for team in ("red", "blue"):
        assert lading.ask(f"http://localhost:18085/{team}/") == f"the {team} team\n\n200"
        assert lading.ask(f"http://[::1]:18085/{team}/") == f"the {team} team\n\n200"
    check_settled(lading, folder)

    def fetched(name: str, url: str) -> str:
        return lading("exec", name, "--", "timeout", "2", "wget", "-q", "-O-", url, check=False).stdout

    assert fetched("red-web", "http://web/") == "the red team\n"
    assert fetched("blue-web", "http://web/") == "the blue team\n"
    [blue] = status(lading, "blue-web")["networks"]["blue"]["addresses"]
    assert fetched("red-web", "http://blue-web/") == ""
    assert fetched("red-web", f"http://{blue.partition('/')[0]}/") == ""
    assert status(lading, "red-web")["networks"]["red"]["addresses"][0].partition("/")[0] == "10.209.1.10"

    before = status(lading, "red-web")["pid"]
    lading("network", "connect", "blue", "red-web")
    assert fetched("red-web", "http://blue-web/") == "the blue team\n"
    lading("apply", "-f", folder)
    assert fetched("red-web", "http://blue-web/") == ""
    assert status(lading, "red-web")["pid"] == before
    lading("delete", "-f", folder)
    assert lading.refused("http://localhost:18085/red/")
    assert lading.json("get", "all")["items"] == []
