"""Who waits for what is looked at anew, and for what uses it."""

import threading
import time

import pytest

from controller.cli.progress import waiting
from resources.kinds import Kind
from resources.object import Object
from tests.unit.controller.cli.fakes import FakeBackend, run, status
from tests.unit.controller.cli.progress.test_apply_waiting import two
from tests.unit.controller.cli.shop import session


def test_who_uses_what_is_looked_at_anew_is_waited_for(backend: FakeBackend) -> None:
    """The moment between the image's report and the loop's look at its user is not taken for the end."""
    looked_at_anew(backend, (False, "Stopping", "its process is asked to end"), (True, "Running", ""))
    user = session("apply", "-f", "-", **{"-": ANEW})
    assert run(backend, user) == 0, user.errors
    said = user.text.splitlines()
    assert said[0] == "image/site: its registry is asked what nginx:1 is now"
    assert "nothing to change" not in said
    assert said.index("image/site  Ready") < said.index("container/web  Stopping  its process is asked to end")
    assert said[-1] == "container/web  Running"


def test_who_uses_what_cannot_be_asked_goes_on_as_it_is(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STANDING", 0.3)
    image = looked_at_anew(backend)
    down = status(False, "Retrying", "nobody answers; it is tried again", reason="Unavailable")
    backend.objects.report(image, down)
    user = session("apply", "-f", "-", **{"-": ANEW})
    assert run(backend, user) == 1
    assert user.errors.count("failed") == 1
    assert "image/site failed: nobody answers; the engine keeps trying" in user.errors


ANEW = b"""
apiVersion: lading/v1
kind: Image
metadata: {name: site}
spec: {from: {registry: "nginx:1"}, pull: always}
---
apiVersion: lading/v1
kind: Container
metadata: {name: web}
spec: {image: {name: site}}
"""


def looked_at_anew(backend: FakeBackend, *reports: tuple[bool, str, str]) -> Object:
    """An image that is asked for, and then what becomes of its user."""
    image = backend.objects.add(Kind.IMAGE, "site", {"from": {"registry": "nginx:1"}, "pull": "always"})
    web = backend.objects.add(Kind.CONTAINER, "web", {"image": {"name": "site"}})
    backend.edges = [(web.ref, image.ref, "ready")]
    backend.objects.report(web, status())
    backend.objects.report(image, status(False, "Checking", "asks what nginx:1 is now", reason="Checking"))

    def go() -> None:
        time.sleep(0.3)
        backend.busy.add(web.key)
        backend.objects.report(image, status(True, "Ready"))
        time.sleep(0.3)
        for ready, phase, message in reports:
            backend.objects.report(web, status(ready, phase, message))
            backend.busy.discard(web.key)
            time.sleep(0.2)

    if reports:
        threading.Thread(target=go, daemon=True).start()
    return image


def test_the_cause_of_a_failure_is_told_by_the_first_that_waits_for_it(backend: FakeBackend) -> None:
    waits = status(False, "Waiting", "container/web is not ready; the content of its image is not here")
    reports = {"web": status(False, "Failed", "no such host"), "next": waits, "other": waits}
    backend.then = lambda item: backend.objects.report(item, reports[item.metadata.name])
    user = session("apply", "-f", "-", **{"-": two(*reports)})
    assert run(backend, user) == 1
    assert user.errors.count("container/web is not ready: no such host") == 1
    assert user.errors.count("container/web is not ready\n") == 1
