"""Docker's config.json and its helper programs: read, written, and never shown."""

import base64
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from drivers.images.interface import Credentials
from drivers.images.registry.credentials import DockerCredentials
from resources.errors import DataLoss, EngineError, InvalidArgument, ResourceExhausted, Unavailable

SECRET = "hunter2-hunter2"


def encoded(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def written(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("registry.lan:5000", "registry.lan:5000"),
        ("https://registry.lan/v1/", "registry.lan"),
        ("http://registry.lan", "registry.lan"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_keys_of_the_file(tmp_path: Path, key: str, host: str) -> None:
    store = DockerCredentials([written(tmp_path / "c", {"auths": {key: {"auth": encoded(f"me:{SECRET}:x")}}})])
    assert store.get(host) == Credentials("me", f"{SECRET}:x")
    assert store.list() == [(host, "me")]
    assert store.get("other.lan") is None


def test_what_docker_would_write_comes_first(tmp_path: Path) -> None:
    auths = {key: {"auth": encoded(f"{key[:8]}:{SECRET}")} for key in ("docker.io", "https://index.docker.io/v1/")}
    store = DockerCredentials([written(tmp_path / "c", {"auths": auths})])
    assert store.list() == [("docker.io", "https")]


def test_entries_of_the_file(tmp_path: Path) -> None:
    auths = {
        "token.lan": {"auth": encoded("me:"), "identitytoken": SECRET},
        "plain.lan": {"username": "me", "password": SECRET},
        "nul.lan": {"auth": encoded(f"me:{SECRET}\0\0")},
        "empty.lan": {},
        # For a part of a registry only: not for all of it.
        "part.lan/team": {"auth": encoded(f"me:{SECRET}")},
    }
    store = DockerCredentials([written(tmp_path / "c", {"auths": auths})])
    assert store.get("token.lan") == Credentials("me", "", SECRET)
    assert store.get("plain.lan") == Credentials("me", SECRET) == store.get("nul.lan")
    assert store.get("empty.lan") is None
    assert store.get("part.lan") is None
    assert [host for host, _ in store.list()] == ["nul.lan", "plain.lan", "token.lan"]


@pytest.mark.parametrize(
    "document",
    [
        f'{{"auths": {{"a": "{SECRET}"}}}}',
        f'{{"auths": ["{SECRET}"]}}',
        f'{{"auths": {{"a": {{"auth": "{SECRET}!"}}}}}}',
        f'{{"auths": {{"a": {{"auth": "{SECRET}\u00e9"}}}}}}',
        f'{{"auths": {{"a": {{"auth": ["{SECRET}"]}}}}}}',
        f'{{"{SECRET}": 1, "{SECRET}": 2}}',
        f'{{"{SECRET}',
        "[" * 100_000,
        f'{{"credsStore": ["{SECRET}"]}}',
        f'{{"credHelpers": "{SECRET}"}}',
    ],
)
def test_a_damaged_file_is_told_but_not_quoted(tmp_path: Path, document: str) -> None:
    store = DockerCredentials([written(tmp_path / "c", document)])
    with pytest.raises(EngineError) as caught:
        store.get("a")
    assert isinstance(caught.value, (DataLoss, InvalidArgument))
    assert SECRET not in repr(caught.value) + str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "long"])
def test_what_is_no_file_of_logins_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b" " * (5 << 20))
    with pytest.raises(DataLoss, match=re.escape(str(path))):
        DockerCredentials([path]).get("a")


def test_a_login_that_finds_no_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("drivers.images.registry.credentials.write_durable", full)
    with pytest.raises(ResourceExhausted, match="No space"):
        DockerCredentials([tmp_path / "c"]).put("a", Credentials("me", SECRET))


def test_login_and_logout_keep_what_else_is_there(tmp_path: Path) -> None:
    path = written(tmp_path / "c", {"HttpHeaders": {"X": "y"}, "auths": {"b": {"auth": encoded("b:b"), "email": "z"}}})
    store = DockerCredentials([path])
    store.put("docker.io", Credentials("me", SECRET))
    store.put("a.lan:5000", Credentials("you", "", "identity"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["HttpHeaders"] == {"X": "y"}
    assert document["auths"]["b"] == {"auth": encoded("b:b"), "email": "z"}
    assert document["auths"]["https://index.docker.io/v1/"] == {"auth": encoded(f"me:{SECRET}")}
    assert store.list() == [("a.lan:5000", "you"), ("b", "b"), ("docker.io", "me")]
    assert store.get("a.lan:5000") == Credentials("you", "", "identity")
    assert store.delete("docker.io")
    assert not store.delete("docker.io")
    assert store.get("docker.io") is None
    assert json.loads(path.read_text())["HttpHeaders"] == {"X": "y"}
    assert os.listdir(tmp_path) == ["c"]


def test_the_first_file_is_made_and_the_others_are_only_read(tmp_path: Path) -> None:
    other = written(tmp_path / "other", {"auths": {"a": {"auth": encoded("old:x")}}})
    before = other.read_bytes()
    store = DockerCredentials([tmp_path / "new" / "c", other])
    assert store.get("a") == Credentials("old", "x")
    store.put("a", Credentials("new", SECRET))
    assert store.get("a") == Credentials("new", SECRET)
    assert store.list() == [("a", "new")]
    assert store.delete("a")
    assert store.get("a") == Credentials("old", "x")
    assert other.read_bytes() == before
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(),
        Credentials("me"),
        Credentials("", SECRET),
        Credentials("m:e", SECRET),
        Credentials("me", f"{SECRET}\n"),
        Credentials("m\0e", SECRET),
    ],
)
def test_what_cannot_be_a_login(tmp_path: Path, credentials: Credentials) -> None:
    store = DockerCredentials([tmp_path / "c"])
    with pytest.raises(InvalidArgument) as caught:
        store.put("a", credentials)
    assert SECRET not in str(caught.value)
    with pytest.raises(InvalidArgument):
        store.put("a/../b", Credentials("me", SECRET))
    assert os.listdir(tmp_path) == []


def test_credentials_are_not_shown() -> None:
    shown = [str, repr, "{}".format, "{!r}".format, lambda one: repr([one]), lambda one: f"{one!s}"]
    for show in shown:
        assert SECRET not in show(Credentials("me", SECRET, SECRET))


HELPER = """#!/usr/bin/python3
import json, os, sys
base = {base!r}
with open(os.path.join(base, "calls"), "a") as calls:
    calls.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
kept = os.path.join(base, "kept.json")
have = json.load(open(kept)) if os.path.exists(kept) else {{}}
said = sys.stdin.read()
if sys.argv[1] == "get":
    if said.strip() not in have:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps({{"ServerURL": said, "Username": have[said][0], "Secret": have[said][1]}}))
elif sys.argv[1] == "store":
    given = json.loads(said)
    have[given["ServerURL"]] = [given["Username"], given["Secret"]]
elif sys.argv[1] == "erase":
    del have[said]
else:
    print(json.dumps({{server: user for server, (user, _) in have.items()}}))
json.dump(have, open(kept, "w"))
"""


def program(folder: Path, name: str, text: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    path = folder / f"docker-credential-{name}"
    path.write_text(text)
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder), "LADING_SECRET": "not for helpers"}


@pytest.mark.parametrize("settings", [{"credsStore": "mine"}, {"credHelpers": {"a.lan": "mine"}}])
def test_a_helper_keeps_what_the_file_does_not(tmp_path: Path, settings: dict[str, Any]) -> None:
    environment = program(tmp_path / "bin", "mine", HELPER.format(base=str(tmp_path)))
    path = written(tmp_path / "c", settings)
    store = DockerCredentials([path], environment=environment)
    assert store.get("a.lan") is None
    store.put("a.lan", Credentials("me", SECRET))
    assert store.get("a.lan") == Credentials("me", SECRET)
    assert store.list() == [("a.lan", "me")]
    assert SECRET not in path.read_text()
    assert json.loads(path.read_text()) == {**settings, "auths": {"a.lan": {}}}
    store.put("a.lan", Credentials("", "", "identity"))
    assert store.get("a.lan") == Credentials(identity_token="identity")
    assert store.delete("a.lan")
    assert not store.delete("a.lan")
    calls = (tmp_path / "calls").read_text()
    assert SECRET not in calls
    assert "not for helpers" not in calls
    other = store.get("other.lan")
    assert other is None


@pytest.mark.parametrize("name", ["../evil", "a/b", "", " ", "-x", "a;b", "a\n", "x" * 80])
def test_names_of_helpers(tmp_path: Path, name: str) -> None:
    store = DockerCredentials([written(tmp_path / "c", {"credHelpers": {"a": name}, "credsStore": name})])
    if name:
        with pytest.raises(InvalidArgument):
            store.get("a")
    else:
        assert store.get("a") is None


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nexec sleep 60",
        # One that leaves somebody behind who holds its output.
        "#!/bin/sh\nsleep 60 & exit 0",
        "#!/bin/sh\nexec yes " + SECRET,
        f"#!/bin/sh\necho {SECRET}; exit 3",
        f"#!/bin/sh\necho '{{\"{SECRET}'",
        f'#!/bin/sh\necho \'{{"Username": ["{SECRET}"], "Secret": "{SECRET}"}}\'',
        "#!/no/such/interpreter\n",
        f"#!/bin/sh\necho {SECRET} >&2; exit 1",
    ],
)
def test_helpers_that_fail(tmp_path: Path, text: str) -> None:
    environment = program(tmp_path / "bin", "mine", text)
    store = DockerCredentials(
        [written(tmp_path / "c", {"credsStore": "mine"})], environment=environment, helper_timeout=0.5
    )
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        store.get("a")
    assert time.monotonic() - started < 5
    assert SECRET not in str(caught.value)
    assert "docker-credential-mine" in str(caught.value)


def test_a_helper_is_only_looked_for_where_programs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "mine", "#!/bin/sh\necho '{}'")
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "c", {"credsStore": "mine"})
    for search in ("bin", ".", "", "bin:/usr/bin"):
        store = DockerCredentials([path], environment={"PATH": search})
        with pytest.raises(Unavailable, match="is not there"):
            store.get("a")
