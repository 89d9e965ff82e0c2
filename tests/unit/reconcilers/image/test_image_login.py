"""What a Secret says about logging in: a name and password, or Docker's config.json."""

import base64
import json
from typing import Any

import pytest

from drivers.images.interface import Credentials
from reconcilers.image.login import credentials
from resources.errors import InvalidArgument

HUB = "docker.io"


def config(**auths: Any) -> bytes:
    return json.dumps({"auths": {key.replace("__", "."): entry for key, entry in auths.items()}}).encode()


def packed(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_a_name_and_a_password_are_for_whatever_registry_it_is() -> None:
    values = {"username": b"me", "password": b"a b:c\n", "other": b"x"}
    assert credentials("hub", values, HUB) == Credentials("me", "a b:c")
    assert credentials("hub", values, "ghcr.io") == Credentials("me", "a b:c")
    assert credentials("hub", values, HUB).source == "secret/hub"


@pytest.mark.parametrize("key", [".dockerconfigjson", "config.json"])
@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("https://index.docker.io/v1/", HUB),
        ("docker.io", HUB),
        ("registry-1.docker.io", HUB),
        ("ghcr.io", "ghcr.io"),
        ("http://registry.local:5000/v2/", "registry.local:5000"),
    ],
)
def test_a_config_of_dockers_has_an_entry_a_registry(key: str, written: str, host: str) -> None:
    entry = {written: packed("me:pass:word"), "elsewhere.io": packed("other:x"), "ghcr.io/part": packed("part:x")}
    document = json.dumps({"auths": entry, "credsStore": "ignored"}).encode()
    assert credentials("hub", {key: document}, host) == Credentials("me", "pass:word")


def test_an_entry_may_be_split_or_a_token() -> None:
    document = config(ghcr__io={"username": "me", "password": "p"}, quay__io={"identitytoken": "t"})
    assert credentials("hub", {"config.json": document}, "ghcr.io") == Credentials("me", "p")
    assert credentials("hub", {"config.json": document}, "quay.io") == Credentials("", "", "t")
    assert credentials("hub", {"config.json": document}, "quay.io").source == "secret/hub"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"token": b"hunter2"}, "has the keys token, and nothing to log in to docker.io with"),
        ({}, "has the keys none at all"),
        ({"username": b"me"}, "has the keys username"),
        ({"username": b"me", "password": b"\xff"}, "password of secret/hub is no text"),
        ({"username": b"me\nhunter2", "password": b"x"}, "username of secret/hub has control characters"),
        ({"config.json": b"hunter2"}, "it is not JSON"),
        ({"config.json": b"[" * 100_000}, "it is not JSON"),
        ({"config.json": b"[]"}, "it is not an object"),
        ({"config.json": b'{"auths": ["hunter2"]}'}, "auths is not an object"),
        ({"config.json": config(docker__io="hunter2")}, "what it has for docker.io is not an object"),
        ({"config.json": config(docker__io={"auth": ["hunter2"]})}, "what it has for docker.io is not text"),
        ({"config.json": config(docker__io={"auth": "hunter2!"})}, "is not base64 of user:password"),
        ({"config.json": config(ghcr__io=packed("me:hunter2"))}, "has nothing for docker.io"),
        ({"config.json": config(docker__io={})}, "has nothing for docker.io"),
    ],
)
def test_what_is_no_login_says_so_and_shows_nothing(values: dict[str, bytes], words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        credentials("hub", values, HUB)
    assert words in str(error.value)
    assert "hunter2" not in repr((str(error.value), error.value.__cause__))
