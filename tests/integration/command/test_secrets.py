"""A secret's content is in its container and in the engine's memory, and nowhere else that anyone can read."""

import base64
import secrets as random_words
import stat
from pathlib import Path

import pytest

from tests.integration.command.client import FOREVER, Client, container, document, text
from tests.integration.command.outside import holding, until

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]
SHOWN = (
    ("get", "all", "-o", "json"),
    ("get", "all", "-o", "yaml"),
    ("get", "all", "-o", "manifest"),
    ("get", "all", "-o", "wide"),
    ("get", "secret", "canary", "-o", "json"),
    ("describe", "secret/canary"),
    ("describe", "container/web"),
    ("events",),
    ("events", "-o", "json"),
    ("logs", "web", "--all"),
    ("graph", "-o", "dot"),
    ("top", "web"),
    ("version", "-o", "json"),
)


def _forms(canary: str) -> list[bytes]:
    """As it is, and as base64 would hide it from a look at the text."""
    raw = canary.encode()
    return [raw, base64.b64encode(raw)[:-4], raw.hex().encode()]


def _manifest(canary: str, **labels: str) -> str:
    secret = document("Secret", "canary", data={"password": canary})
    web = container(
        "web",
        f"echo up; {FOREVER}",
        env={"PASSWORD": {"secret": "canary", "key": "password"}},
        mounts=[{"secret": "canary", "target": "/canary"}],
        health={"exec": ["sh", "-c", 'test -n "$PASSWORD"'], "interval": "200ms"},
    )
    web["metadata"]["labels"] = labels
    return text(secret, web)


def test_a_canary_is_found_nowhere(alone: Client, tmp_path: Path) -> None:
    first, second = (f"canary-{random_words.token_hex(12)}" for _ in range(2))
    alone("apply", "-f", "-", stdin=_manifest(first))
    one = alone.process("web")
    assert one.environ["PASSWORD"] == first
    assert alone.inside("web", "cat /canary/password") == first

    plan = tmp_path / "saved.plan"
    said = [alone("plan", "-f", "-", "-o", form, stdin=_manifest(second)).stdout for form in ("text", "json")]
    said.append(alone("plan", "-f", "-", "--out", plan, stdin=_manifest(second)).stdout)
    said.append(alone("apply", plan).stdout)
    assert alone.process("web").environ["PASSWORD"] == second
    # A change that fails says no more than one that works.
    alone("kill", "web")
    until(lambda: alone.phase("web") == "Failed")
    said.append(alone("apply", "-f", "-", "--timeout", "1s", stdin=_manifest(first, a="b"), check=False).stdout)
    said += [alone(*words, check=False).stdout for words in SHOWN]
    alone("restart", "web", check=False)

    for canary in (first, second):
        assert [text_ for text_ in said if canary in text_] == []
        for form in _forms(canary):
            assert holding(alone.engine.root, form) == []
            assert form not in plan.read_bytes()
            assert _processes_with(form, apart={alone.process("web").pid}) == []
    # On the run root it is the runtime's own file, that of a health check that runs, and the mounted one, closed to all others.
    found = holding(alone.engine.run_root, first.encode()) + holding(alone.engine.run_root, second.encode())
    assert {path.name for path in found if path.parent.name != "execs"} <= {"config.json", "password"}
    for path in found:
        above = path.parents[: len(path.relative_to(alone.engine.run_root).parts)]
        assert any(stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0 for folder in above), path
    assert stat.S_IMODE(alone.engine.root.stat().st_mode) == 0o700

    alone("delete", "--all", "--data")
    for canary in (first, second):
        assert holding(alone.engine.base, canary.encode()) == []


def _processes_with(needle: bytes, apart: set[int]) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) in apart:
            continue
        for name in ("cmdline", "environ"):
            try:
                if needle in (entry / name).read_bytes():
                    found.append(f"{name} of {(entry / 'cmdline').read_bytes()!r}")
            except OSError:
                continue
    return found


def test_a_config_is_no_secret_but_a_generated_secret_is(client: Client) -> None:
    secret = document("Secret", "made", generate={"token": {"length": 32}})
    client.apply(secret, container("web", mounts=[{"secret": "made", "target": "/made"}]))
    token = client.inside("web", "cat /made/token")
    assert len(token) == 32
    assert holding(client.engine.root, token.encode()) == []
    # It is made once.
    assert (
        client.apply(secret, container("web", mounts=[{"secret": "made", "target": "/made"}])) == "nothing to change\n"
    )
    client("restart", "web")
    assert client.inside("web", "cat /made/token") == token


def test_a_secret_from_the_clients_files_and_environment(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("from-a-file-1234567890")
    monkeypatch.setenv("CI_TOKEN", "from-the-environment-1234567890")
    secret = document("Secret", "mine", files={"key": str(tmp_path / "key")}, env={"token": "CI_TOKEN"})
    client.apply(secret, container("web", mounts=[{"secret": "mine", "target": "/mine"}]))
    assert client.inside("web", "cat /mine/key") == "from-a-file-1234567890"
    assert client.inside("web", "cat /mine/token") == "from-the-environment-1234567890"
    for content in (b"from-a-file-1234567890", b"from-the-environment-1234567890"):
        assert holding(client.engine.root, content) == []


def test_a_problem_in_a_secrets_manifest_does_not_quote_it(client: Client) -> None:
    canary = f"canary-{random_words.token_hex(12)}"
    bad = f"apiVersion: lading/v1\nkind: Secret\nmetadata: {{name: s}}\nspec:\n  data: {{a: {canary}}}\n  dta: {{b: {canary}}}\n"
    answer = client("apply", "-f", "-", stdin=bad, check=False)
    assert answer.returncode == 1
    assert "dta" in answer.stderr
    assert canary not in answer.stdout + answer.stderr
