"""What admission makes of the content of secrets, configs and env files."""

import base64
from typing import Any

import pytest

from controller.admission.admit import Admission
from controller.admission.effective import CONTENT_LIMIT
from controller.interface import ApplyOptions, Content, Submission
from controller.store.snapshot import Snapshot
from resources.kinds import Kind
from tests.unit.controller.making import (
    admitted,
    content,
    only,
    problems,
    stored,
    submission,
    unsealed,
)

IMAGE = {"from": {"registry": "nginx"}}
WEB = {"image": "nginx"}


def applied(*submissions: Submission, before: Snapshot | None = None, **options: Any) -> Snapshot:
    admission = admitted(list(submissions), before, ApplyOptions(**options))
    assert problems(admission) == []
    return stored(admission, before)


def secret(spec: dict[str, Any], before: Snapshot | None = None, **contents: Any) -> Admission:
    return admitted([submission("secret/s", spec, contents=contents.get("contents"))], before)


def test_secrets_are_sealed_and_written_nowhere() -> None:
    spec = {"data": {"password": "hunter2"}, "files": {"tls.key": "./tls.key"}, "env": {"token": "CI_TOKEN"}}
    contents = {'spec.files["tls.key"]': b"PRIVATE\xff", "spec.env.token": b"tok"}
    item = only(secret(spec, contents=contents))
    assert item.spec.written() == {**spec, "data": {"password": ""}}
    assert {key: unsealed(sealed) for key, sealed in item.effective.entries.items()} == {
        "password": b"hunter2",
        "tls.key": b"PRIVATE\xff",
        "token": b"tok",
    }
    assert item.inputs == {}, "the plain digest of a secret is not kept"
    assert "hunter2" not in item.model_dump_json()
    before = stored(secret(spec, contents=contents))
    assert secret(spec, before, contents=contents).written == ()
    changed = only(secret({**spec, "data": {"password": "other"}}, before, contents=contents))
    old = before.list()[0].effective.entries
    assert changed.effective.entries["tls.key"] == old["tls.key"]
    assert unsealed(changed.effective.entries["password"]) == b"other"
    assert changed.metadata.generation == 2


def test_a_generated_secret_is_made_once() -> None:
    spec = {"generate": {"cookie": {"length": 20}}}
    before = stored(secret(spec))
    value = before.list()[0].effective.entries["cookie"]
    assert len(unsealed(value)) == 20
    assert secret(spec, before).written == ()
    more = only(secret({**spec, "data": {"a": "1"}}, before))
    assert more.effective.entries["cookie"] == value
    fixed = stored(secret({"data": {"cookie": "fixed"}}, before), before)
    assert unsealed(fixed.list()[0].effective.entries["cookie"]) == b"fixed"
    assert unsealed(only(secret(spec, fixed)).effective.entries["cookie"]) != b"fixed"


def test_a_config_keeps_its_content_with_digests() -> None:
    spec = {"data": {"a": "text ü"}, "files": {"b": "./b"}}
    item = only(admitted([submission("config/c", spec, contents={"spec.files.b": b"\0\xff"})]))
    assert {key: base64.b64decode(entry) for key, entry in item.effective.entries.items()} == {
        "a": "text ü".encode(),
        "b": b"\0\xff",
    }
    assert item.effective.digests["b"] == content(b"\0\xff").digest


@pytest.mark.parametrize("kind", ["secret", "config"])
def test_content_is_limited(kind: str) -> None:
    half = b"x" * (CONTENT_LIMIT // 2)
    contents = {"spec.files.a": half, "spec.files.b": half}
    spec: dict[str, Any] = {"files": {"a": "./a", "b": "./b"}}
    assert problems(admitted([submission(f"{kind}/c", spec, contents=contents)])) == []
    (words,) = problems(admitted([submission(f"{kind}/c", {**spec, "data": {"d": "x"}}, contents=contents)]))
    assert f"holds {CONTENT_LIMIT + 1} bytes" in words


def test_content_that_is_missing_or_not_what_it_says_is_a_problem() -> None:
    spec = {"files": {"a": "./a"}}
    (words,) = problems(admitted([submission("config/c", spec)]))
    assert words.startswith("m.yaml:13:1: spec.files.a: the content of './a' was not sent")
    wrong = Content(content(b"x").digest, 1, b"y")
    (words,) = problems(admitted([submission("config/c", spec, contents={"spec.files.a": wrong})]))
    assert "is not what its digest says" in words


def test_env_files_are_merged_under_env_and_their_errors_have_their_line() -> None:
    spec = {**WEB, "envFile": ["./a.env", "./b.env"], "env": {"C": "manifest", "D": {"config": "c", "key": "k"}}}
    needs = {"spec.envFile[0]": "deploy/a.env", "spec.envFile[1]": "deploy/b.env"}
    config = submission("config/c", {"data": {"k": ""}})

    def files(a: bytes, b: bytes) -> Admission:
        contents = {"spec.envFile[0]": a, "spec.envFile[1]": b}
        return admitted([submission("container/web", spec, contents=contents, needs=needs), config])

    item = next(i for i in files(b"A=1\nB=1\nC=1\n", b"B=2\n").written if i.kind is Kind.CONTAINER)
    assert item.effective.full()["env"] == {"A": "1", "B": "2", "C": "manifest", "D": {"config": "c", "key": "k"}}
    assert item.effective.env_file == ()
    assert item.spec.written()["envFile"] == ["./a.env", "./b.env"]
    assert item.inputs == {}
    found = problems(files(b"A=1\n\nWRONG\n", b"A B=1\n"))
    assert found[0].startswith("deploy/a.env:3:1: spec.envFile[0]: has no '='")
    assert found[1].startswith("deploy/b.env:1:1: spec.envFile[1]: has white space")
