"""Secrets and configs: nothing on the host, ready at once, gone when nobody uses them."""

import base64
import json
from typing import Any

import pytest

from reconcilers.config.reconciler import config_reconciler
from reconcilers.interface import Diff, Reconciler
from reconcilers.secret.reconciler import secret_reconciler
from resources.kinds import Kind
from resources.object import Object
from tests.unit.reconcilers.engines import Loop, deleted, made, uid_of

PASSWORD = base64.b64encode(b"hunter2").decode()
SECRET = made(
    Kind.SECRET,
    "db",
    {"data": {"password": "", "user": ""}},
    effective={
        "entries": {"user": {"digest": "k1", "value": PASSWORD}, "password": {"digest": "k2", "value": PASSWORD}}
    },
)
CONFIG = made(
    Kind.CONFIG,
    "nginx",
    {"data": {"nginx.conf": "events {}"}},
    effective={"entries": {"nginx.conf": "ZXZlbnRzIHt9"}, "digests": {"nginx.conf": "sha256:aa"}},
)
ALL = [(secret_reconciler(), SECRET), (config_reconciler(), CONFIG)]


@pytest.mark.parametrize(("reconciler", "item"), ALL, ids=("secret", "config"))
def test_ready_at_once_and_nothing_to_sweep(reconciler: Reconciler[Any, Any], item: Object) -> None:
    loop = Loop(lambda _jobs, _now: reconciler)
    assert reconciler.kind is item.kind
    assert loop.converge(item) == Diff()
    assert loop.plan(item) == []
    assert loop.status(item).ready
    assert loop.status(item).observed_generation == item.metadata.generation
    assert reconciler.known() == []
    assert loop.converge(None, item.key) == Diff()
    assert loop.acted == []


@pytest.mark.parametrize(("reconciler", "item"), ALL, ids=("secret", "config"))
def test_deletion_waits_for_the_users(reconciler: Reconciler[Any, Any], item: Object) -> None:
    loop = Loop(lambda _jobs, _now: reconciler)
    loop.blockers = ("container/web uses it", "container/db uses it")
    assert loop.converge(item) == Diff()
    assert loop.converge(deleted(item)).waiting == "container/web uses it; container/db uses it"
    loop.blockers = ()
    assert loop.converge(deleted(item)) == Diff()
    assert not loop.status(deleted(item)).ready


def test_a_secret_tells_the_names_of_its_keys_and_nothing_else() -> None:
    status = Loop(lambda _jobs, _now: secret_reconciler()).status(SECRET)
    assert status.fields == {"keys": ["password", "user"]}
    said = json.dumps(status.full())
    assert PASSWORD not in said
    assert "k2" not in said


def test_a_config_tells_digests() -> None:
    status = Loop(lambda _jobs, _now: config_reconciler()).status(CONFIG)
    assert status.fields == {"digests": {"nginx.conf": "sha256:aa"}}


def test_an_action_nobody_gave_it_is_refused() -> None:
    with pytest.raises(TypeError):
        secret_reconciler().act(object())  # type: ignore[arg-type]
    assert uid_of("db") == SECRET.metadata.uid
