"""How bytes on their way are shown: bars on a terminal, no flood elsewhere."""

import json
import re

import pytest

from controller.cli.commandline.arguments import Arguments
from controller.cli.commandline.call import Call
from controller.cli.progress.showing import Look, Progress, described
from controller.cli.progress.transfer import Rate, Transfer
from resources.errors import Cancelled
from resources.kinds import Kind
from tests.unit.controller.cli.fakes import FakeSession, ref, status

MIB = 1 << 20
LAYERS = [f"sha256:{str(number) * 64}" for number in range(1, 4)]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Ground:
    def __init__(self, *, tty: bool = False, **flags: str) -> None:
        self.session = FakeSession(tty=tty)
        self.clock = Clock()
        given = {name: [value] for name, value in flags.items()}
        self.transfer = Transfer(Call(self.session, Arguments("image pull", flags=given), None), "nginx", self.clock)

    def pull(self, seconds: float = 20.0, steps: int = 200) -> None:
        """Three layers of 40 MiB, side by side."""
        self.transfer.progress("resolve", 0, 0)
        for step in range(1, steps + 1):
            self.clock.now += seconds / steps
            for layer in LAYERS:
                self.transfer.progress(layer, 40 * MIB * step // steps, 40 * MIB)


def test_elsewhere_a_line_every_few_seconds_and_one_for_what_is_complete() -> None:
    ground = Ground()
    ground.pull()
    lines = ground.session.text.splitlines()
    assert lines[0] == "nginx: asking the registry"
    assert [line for line in lines if "complete" in line] == [
        f"nginx: {layer[7:19]} complete, 40.0 MiB" for layer in LAYERS
    ]
    between = [line for line in lines if " of 120.0 MiB, " in line]
    assert len(between) == 3
    assert all(re.search(r", [56]\.[0-9] MiB/s$", line) for line in between)
    assert len(lines) == 7


def test_a_terminal_has_a_bar_a_layer_and_is_not_drawn_more_than_eyes_can_see() -> None:
    ground = Ground(tty=True)
    ground.pull(seconds=2.0, steps=2000)
    frames = ground.session.text.split("\r")
    assert len(frames) < 30
    last = [line for line in frames[-1].split("\x1b[2K") if line.startswith("  ")]
    assert [line.split()[0] for line in last] == [layer[7:19] for layer in LAYERS]
    assert "[========================]" in last[0]
    assert max(len(line.rstrip("\n\x1b[J")) for line in last) < 80
    ground.transfer.end()
    assert ground.session.text.endswith("\x1b[4A\x1b[J")


def test_a_small_terminal_shows_those_under_way() -> None:
    ground = Ground(tty=True)
    ground.session.rows = 5
    for layer in LAYERS[:2]:
        ground.transfer.progress(layer, MIB, MIB)
    ground.transfer.progress(LAYERS[2], 0, MIB)
    assert [line[2:6] for line in ground.session.text.split("\x1b[2K")[-2:]] == ["3333", "1111"]


def test_json_is_an_object_a_line_and_a_second() -> None:
    ground = Ground(output="json")
    ground.pull()
    lines = [json.loads(line) for line in ground.session.text.splitlines()]
    assert lines[0] == {"event": "progress", "of": "nginx", "what": "resolve", "done": 0, "total": 0}
    of_one = [line for line in lines if line["what"] == LAYERS[0]]
    assert 18 <= len(of_one) <= 22
    assert of_one[-1]["done"] == of_one[-1]["total"] == 40 * MIB


def test_quiet_says_nothing_and_still_ends_when_asked_to() -> None:
    ground = Ground(quiet="")
    ground.pull()
    assert ground.session.text == ""
    ground.session.interrupted = lambda: True
    with pytest.raises(Cancelled):
        ground.transfer.progress(LAYERS[0], 1, 2)


def test_as_long_as_the_registry_has_not_answered_no_sizes_are_told() -> None:
    ground = Ground()
    for _ in range(13):
        ground.transfer.progress("resolve", 0, 0)
        ground.clock.now += 1
    assert ground.session.text == "nginx: asking the registry\n" * 3


def test_hostile_names_stay_on_their_line() -> None:
    ground = Ground()
    ground.transfer.progress("a\nb\x1b[2J", 1, 1)
    assert "\x1b" not in ground.session.text
    assert ground.session.text.count("\n") == 1


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    for second in range(20):
        rate.note(float(second), second * 100 if second < 10 else 900 + (second - 9) * 1000)
    assert rate.value == 1000
    rate.note(20.0, 5)
    assert rate.value == 0


def test_an_objects_progress_is_said_in_words() -> None:
    layers = [{"digest": "a", "done": 5, "total": 5}, {"digest": "b", "done": 1, "total": 9}]
    found = Progress.of(status(False, progress={"what": "pull", "done": 6 * MIB, "total": 14 * MIB, "layers": layers}))
    assert found == Progress(6 * MIB, 14 * MIB, 2, 1)
    look = Look(ref(Kind.IMAGE, "web"), "Pulling", "pull docker.io/library/nginx:1 42%", progress=found)
    assert described(look, 3.0 * MIB) == (
        "image/web  Pulling  pull docker.io/library/nginx:1  6.0 MiB of 14.0 MiB, 1 of 2 layers, 3.0 MiB/s"
    )
    assert look.state == Look(look.ref, "Pulling", "pull docker.io/library/nginx:1")
    assert Progress.of(status()) is None
