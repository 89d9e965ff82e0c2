"""What the documents say of the program is so: commands, requests, links, the manifest in the README."""

import re
from pathlib import Path

import pytest

from controller.api.native.app import PREFIX, make
from controller.api.native.calls import Calls
from controller.cli.verbs.catalogue import LATER, VERBS
from manifests.interface import Text
from manifests.load import load
from tests.engines import CHECKOUT
from tests.unit.controller.api.backend import FakeBackend

DOCUMENTS = [
    *CHECKOUT.glob("*.md"),
    *CHECKOUT.glob("docs/**/*.md"),
    *CHECKOUT.glob("examples/**/*.md"),
]


def test_every_command_is_explained_and_no_other() -> None:
    text = (CHECKOUT / "docs/commands.md").read_text()
    words = set(re.findall(r"`([a-z]+)(?=[ `])", text)) | set(re.findall(r"`([a-z]+ [a-z]+)(?=[ `])", text))
    assert sorted(set(VERBS) - words) == []
    assert sorted(set(LATER) & words) == []


def test_every_request_is_explained_and_no_other() -> None:
    calls = Calls(FakeBackend())  # type: ignore[arg-type]
    routes = {
        (route.method, route.resource.canonical.removeprefix(PREFIX))
        for route in make(calls).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    calls.close()
    text = (CHECKOUT / "docs/api.md").read_text()
    told = {(method, path) for method, path in re.findall(r"`(GET|PUT|POST|DELETE) (/[^`?]*)", text)}
    assert told == routes


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_manifests_in_documents_are_valid(document: Path) -> None:
    for text in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL):
        assert load([Text(document.name, text.encode())]).problems == ()


def test_the_scripts_that_are_named_are_there() -> None:
    for document in DOCUMENTS:
        for name in re.findall(r"\bscript/([a-z_-]+)\b", document.read_text()):
            assert any((CHECKOUT / "script").glob(f"{name}*")), f"{document}: script/{name}"
