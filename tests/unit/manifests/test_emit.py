"""Manifests as text."""

import pytest

from manifests.emit import document, emit
from manifests.interface import Text
from manifests.load import load

WRITTEN = """\
apiVersion: lading/v1
kind: Container
metadata:
  name: web
  labels:
    version: "1.10"
spec:
  image: nginx:1.27
  env:
    MODE: "no"
    PORT: "8080"
    PRICE: a$$$${x}
  mounts:
    - secret: tls
      target: /tls
      mode: "0400"
  networks:
    - name: host
  stop:
    timeout: 1m30s
"""


def test_keys_come_in_order_and_values_as_the_language_writes_them() -> None:
    manifest = load([Text("m.yaml", WRITTEN.encode())]).manifests[0].manifest
    text = emit([document(manifest.kind, manifest.metadata, manifest.spec)])
    lines = [line.strip() for line in text.splitlines()]
    assert lines[:4] == ["apiVersion: lading/v1", "kind: Container", "metadata:", "name: web"]
    assert "PRICE: a$$$${x}" in lines
    assert 'PORT: "8080"' in lines
    assert 'mode: "0400"' in lines
    assert "timeout: 1m30s" in lines
    assert load([Text("m.yaml", text.encode())]).manifests[0].manifest == manifest


@pytest.mark.parametrize(
    "text", ["0o17", "1e3", "0x1f", "1_000", "~", "null", "no", "22:22", "", " a", "a: b", "# x", "%a", "\t", "=", "<<"]
)
def test_texts_that_look_like_something_else(text: str) -> None:
    emitted = emit(
        [{"apiVersion": "lading/v1", "kind": "Config", "metadata": {"name": "c"}, "spec": {"data": {"a": text}}}]
    )
    found = load([Text("m.yaml", emitted.encode())])
    assert found.problems == ()
    assert found.manifests[0].manifest.spec.data == {"a": text}


def test_lines_are_shown_as_lines() -> None:
    data = {
        "apiVersion": "lading/v1",
        "kind": "Config",
        "metadata": {"name": "c"},
        "spec": {"data": {"a": "one\n  two\n"}},
    }
    assert "a: |\n      one\n        two\n" in emit([data])


def test_documents_are_apart() -> None:
    data = {"apiVersion": "lading/v1", "kind": "Volume", "metadata": {"name": "c"}, "spec": {}}
    other = {**data, "metadata": {"name": "d"}}
    found = load([Text("m.yaml", emit([data, other]).encode())])
    assert [one.manifest.metadata.name for one in found.manifests] == ["c", "d"]
