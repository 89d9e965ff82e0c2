"""Every example, by the command a user types, on the real host; what it promises is checked from outside."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines import CHECKOUT, Engine

pytestmark = [pytest.mark.host, pytest.mark.timeout(600), pytest.mark.usefixtures("images")]
EXAMPLES = CHECKOUT / "examples"
SHOP = EXAMPLES / "02-shop"
PAGE = "https://localhost:18443"


@pytest.fixture
def lading(engine: Callable[[], Engine]) -> Engine:
    return engine()


def ask(url: str, *arguments: str | Path) -> str:
    """What curl gets, with the status after it."""
    words = ["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", *map(str, arguments), url]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def refused(url: str) -> bool:
    return subprocess.run(["curl", "-sk", "--max-time", "5", url], capture_output=True, check=False).returncode == 7


def phases(lading: Engine) -> dict[str, str]:
    items = lading.json("get", "container")["items"]
    return {item["metadata"]["name"]: item["status"]["phase"] for item in items}


def status(lading: Engine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = lading.json("get", "container", name)["status"]
    return found


def change_kinds(lading: Engine, folder: Path) -> dict[str, set[str]]:
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


def check_settled(lading: Engine, folder: Path) -> None:
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
def test_each_validates_and_says_what_it_is(lading: Engine, folder: Path) -> None:
    if (folder / "certificate").exists():
        subprocess.run([folder / "certificate"], check=True)
    assert "valid" in lading("validate", "-f", folder).stdout
    readme = (folder / "README.md").read_text()
    assert f"lading apply -f examples/{folder.name}" in readme
    assert f"]({folder.name})" in (EXAMPLES / "README.md").read_text()


def test_the_readmes_manifest(lading: Engine, tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    assert text
    manifest = tmp_path / "hello.yaml"
    manifest.write_text(text[1].replace(".cache", f"{CHECKOUT}/.cache"))
    lading("apply", "-f", manifest)
    assert ask("http://127.0.0.1:18084/") == "hello from a container\n\n200"
    check_settled(lading, manifest)
    lading("delete", "-f", manifest)
    assert refused("http://127.0.0.1:18084/")


def test_hello(lading: Engine) -> None:
    folder = EXAMPLES / "01-hello"
    lading("apply", "-f", folder)
    assert ask("http://127.0.0.1:18080/") == "hello from a container\n\n200"
    check_settled(lading, folder)
    assert phases(lading) == {"hello": "Running"}
    lading("delete", "-f", folder)
    assert refused("http://127.0.0.1:18080/")
    assert lading.json("get", "all")["items"] == []


@pytest.fixture
def certificate() -> Path:
    subprocess.run([SHOP / "certificate"], check=True)
    return SHOP / "tls.crt"


def order(item: str, certificate: Path) -> None:
    body = json.dumps({"item": item, "quantity": 2})
    assert ask(f"{PAGE}/orders", "--cacert", certificate, "-d", body).endswith("\n201")


def orders(certificate: Path) -> list[str]:
    text, _, code = ask(f"{PAGE}/orders", "--cacert", certificate).rpartition("\n")
    assert code == "200", text
    return [one["item"] for one in json.loads(text)]


def test_shop(lading: Engine, certificate: Path) -> None:
    lading("apply", "-f", SHOP, timeout=300)
    assert phases(lading) == dict.fromkeys(("database", "cache", "app", "front"), "Running")
    order("tea", certificate)
    assert orders(certificate) == ["tea"]
    assert "<li>2 x tea</li>" in ask(f"{PAGE}/", "--cacert", certificate)
    check_settled(lading, SHOP)

    objects = lading.json("get", "all")["items"]
    others = [f"{item['kind']}/{item['metadata']['name']}" for item in objects if item["kind"] != "Volume"]
    assert len(others) == 11
    lading("delete", *others, timeout=300)
    assert refused(PAGE)
    lading("apply", "-f", SHOP, timeout=300)
    assert orders(certificate) == ["tea"]

    # The volume's object too: its data stays, and the same name takes it back.
    lading("delete", "-f", SHOP, timeout=300)
    assert lading.json("get", "all")["items"] == []
    lading("apply", "-f", SHOP, timeout=300)
    order("cake", certificate)
    assert orders(certificate) == ["cake", "tea"]


def test_shop_is_served_with_the_secrets_certificate(lading: Engine, certificate: Path) -> None:
    lading("apply", "-f", SHOP, timeout=300)
    served = subprocess.run(
        ["openssl", "s_client", "-connect", "127.0.0.1:18443", "-servername", "localhost", "-CAfile", certificate],
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


def test_jobs(lading: Engine, tmp_path: Path) -> None:
    folder = EXAMPLES / "03-jobs"
    lading("apply", "-f", folder, timeout=300)
    assert phases(lading) == {"migrate-1": "Completed", "migrate-2": "Completed", "report": "Running"}
    assert ask("http://127.0.0.1:18082/") == "opening: 100\n\n200"
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
    assert refused("http://127.0.0.1:18082/")


def test_secrets_and_config(lading: Engine, tmp_path: Path) -> None:
    folder = EXAMPLES / "04-secrets-and-config"
    lading("apply", "-f", folder)
    assert ask("http://127.0.0.1:18083/index.html") == "the first text\n\n200"
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
    assert ask("http://127.0.0.1:18083/index.html") == "the second text\n\n200"
    assert (status(lading, "page")["pid"], status(lading, "page")["startedAt"]) == (before["pid"], before["startedAt"])

    change(changed / "manifest.yaml", "motto: as declared", "motto: as changed")
    assert "recreate" in change_kinds(lading, changed)["Container/page"]
    lading("apply", "-f", changed)
    assert lading("exec", "page", "--", "sh", "-c", "echo $MOTTO").stdout == "as changed\n"
    assert status(lading, "page")["pid"] != before["pid"]
    # What the engine made once stays.
    assert lading("exec", "page", "--", "cat", "/run/secrets/token/value").stdout == secret
    check_settled(lading, changed)
