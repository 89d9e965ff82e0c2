"""lifecycle, streams, cp, events, graph, usage, system, completion."""

import json
import threading
import time
from datetime import timedelta

import pytest

from controller.cli.text.clean import clean
from controller.cli.text.table import table, width
from resources.errors import FailedPrecondition
from resources.kinds import Kind
from resources.object import Object
from tests.unit.controller.cli.fakes import NOW, FakeBackend, FakeSession, FakeStream, ref, run, status


@pytest.fixture
def web(backend: FakeBackend) -> Object:
    item = backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx", "stdin": True})
    backend.objects.report(item, status())
    return item


def now(backend: FakeBackend, item: Object) -> Object:
    found = backend.objects.get(item.key)
    assert found is not None
    return found


def test_stop_start_pause_resume_restart_edit_what_is_desired(backend: FakeBackend, web: Object) -> None:
    for verb, state in (("stop", "stopped"), ("start", None), ("pause", "paused"), ("resume", None)):
        assert run(backend, FakeSession(verb, "web")) == 0
        held = now(backend, web).suspension
        assert (held and held.state) == state
        assert held is None or held.by == "cli"
        assert now(backend, web).restart_request == ""
    assert run(backend, FakeSession("restart", "web")) == 0
    first = now(backend, web).restart_request
    assert run(backend, FakeSession("restart", "web")) == 0
    assert first != now(backend, web).restart_request != ""


def test_start_of_what_has_ended_asks_for_another_run(backend: FakeBackend, web: Object) -> None:
    backend.objects.report(web, status(False, "Completed", exitCode=0))
    assert run(backend, FakeSession("start", "web")) == 0
    assert now(backend, web).restart_request != ""


@pytest.mark.parametrize(
    ("verb", "spec", "phase", "said"),
    [
        ("start", {"image": "x", "state": "stopped"}, "Stopped", "says `state: stopped`"),
        ("resume", {"image": "x"}, "Running", "is not paused by hand"),
        ("pause", {"image": "x"}, "Completed", "does not run: it is Completed"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    backend: FakeBackend, verb: str, spec: dict[str, str], phase: str, said: str
) -> None:
    item = backend.objects.add(Kind.CONTAINER, "job", spec)
    backend.objects.report(item, status(False, phase))
    user = FakeSession(verb, "job")
    assert run(backend, user) == 1
    assert said in user.errors


def test_a_wait_that_gives_up_says_so(backend: FakeBackend, web: Object) -> None:
    user = FakeSession("wait", "web", "--timeout", "10ms")
    assert run(backend, user) == 4
    assert user.errors == f"lading: {web.ref} has not ended\n"


def test_a_name_with_a_kind_in_it_is_no_new_name(backend: FakeBackend, web: Object) -> None:
    user = FakeSession("rename", web.metadata.name, "container/other")
    assert run(backend, user) == 1
    assert "'container/other' is not a name" in user.errors


def test_a_verb_waits_until_the_loop_has_done_it(backend: FakeBackend, web: Object) -> None:
    backend.obeys = False
    backend.busy.add(web.key)

    def settle() -> None:
        for phase in ("Stopping", "Stopped"):
            time.sleep(0.15)
            backend.objects.report(web, status(False, phase))
            backend.busy.clear()

    threading.Thread(target=settle).start()
    user = FakeSession("stop", "web")
    assert run(backend, user) == 0
    assert [line.split()[1] for line in user.text.splitlines()] == ["Running", "Stopping", "Stopped"]
    backend.busy.add(web.key)
    assert run(backend, FakeSession("start", "web", "--timeout", "100ms")) == 4
    assert run(backend, FakeSession("start", "web", "--no-wait")) == 0


def test_a_start_that_fails_is_a_failure(backend: FakeBackend, web: Object) -> None:
    backend.obeys = False
    backend.objects.report(web, status(False, "Failed", "exit code 1"))
    user = FakeSession("restart", "web")
    assert run(backend, user) == 1
    assert "container/web failed: exit code 1" in user.errors


def test_verbs_of_containers_take_nothing_else(backend: FakeBackend) -> None:
    backend.objects.add(Kind.VOLUME, "data")
    user = FakeSession("stop", "volume/data")
    assert run(backend, user) == 1
    assert "volume/data is not a container" in user.errors


def test_kill_and_rename(backend: FakeBackend, web: Object) -> None:
    assert run(backend, FakeSession("kill", "-s", "HUP", "web")) == 0
    assert run(backend, FakeSession("kill", "web")) == 0
    assert backend.operations.calls == [("kill", "web", "HUP"), ("kill", "web", "KILL")]
    user = FakeSession("rename", "web", "front")
    assert run(backend, user) == 0
    assert user.text == "container/web is now container/front\n"
    assert run(backend, FakeSession("rename", "front", "no/pe")) == 1


@pytest.mark.parametrize(("fields", "code"), [({"exitCode": 3}, 3), ({}, 125)])
def test_wait_ends_with_the_containers_code(
    backend: FakeBackend, web: Object, fields: dict[str, int], code: int
) -> None:
    def end() -> None:
        time.sleep(0.15)
        backend.objects.report(web, status(False, "Failed", **fields))

    threading.Thread(target=end).start()
    assert run(backend, FakeSession("wait", "web")) == code


def test_wait_gives_up_and_notices_that_it_is_gone(backend: FakeBackend, web: Object) -> None:
    assert run(backend, FakeSession("wait", "web", "--timeout", "100ms")) == 4
    threading.Thread(target=lambda: (time.sleep(0.1), backend.objects.remove(web.key))).start()
    user = FakeSession("wait", "web")
    assert run(backend, user) == 125
    assert "is gone" in user.errors


def test_exec_passes_on_what_was_asked_and_the_exit_code(backend: FakeBackend, web: Object) -> None:
    backend.operations.stream = FakeStream(("stdout", b"out"), ("stderr", b"err"), code=9)
    user = FakeSession("exec", "-i", "-e", "A=b", "-e", "FROM", "-u", "web:web", "-w", "/srv", "web", "ls", "-l")
    user.environment["FROM"] = "me"
    assert run(backend, user) == 9
    assert (user.stdout, user.stderr) == (b"out", b"err")
    verb, name, args, options = backend.operations.calls[0]
    assert (verb, name, args) == ("exec", "web", ("ls", "-l"))
    assert options["env"] == {"A": "b", "FROM": "me"}
    assert (options["user"], options["working_dir"], options["tty"], options["stdin"]) == (
        "web:web",
        "/srv",
        False,
        True,
    )
    assert user.joined == [(backend.operations.stream, False, True, False)]
    assert backend.operations.stream.closed


def test_exec_on_a_terminal_takes_its_size(backend: FakeBackend, web: Object) -> None:
    user = FakeSession("exec", "-it", "web", "sh", tty=True)
    assert run(backend, user) == 0
    assert [backend.operations.calls[0][3][name] for name in ("tty", "rows", "columns")] == [True, 24, 80]
    assert user.joined[0][1:] == (True, True, False)
    piped = FakeSession("exec", "-it", "web", "sh")
    assert run(backend, piped) == 125
    assert "needs a terminal" in piped.errors


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("exec: executable file `nope` not found in $PATH: No such file or directory", 127),
        ("exec: permission denied", 126),
        ("container/web does not run", 125),
    ],
)
def test_exec_that_does_not_run_says_why_like_a_shell(
    backend: FakeBackend, web: Object, message: str, code: int
) -> None:
    backend.operations.failure = FailedPrecondition(message)
    user = FakeSession("exec", "web", "nope")
    assert run(backend, user) == code
    assert message in user.errors


def test_exec_in_what_is_not_there_is_ours(backend: FakeBackend) -> None:
    assert run(backend, FakeSession("exec", "nothing", "ls")) == 125


def test_attach_joins_and_says_when_the_end_is_not_known(backend: FakeBackend, web: Object) -> None:
    backend.operations.stream = FakeStream(code=-1)
    user = FakeSession("attach", "web")
    assert run(backend, user) == 125
    assert "not known" in user.errors
    assert user.joined[0][1:] == (False, True, True)


def test_cp_out_passes_the_tar_to_the_user(backend: FakeBackend, web: Object) -> None:
    backend.operations.tree = {"/etc/hosts": {"mode": 0o100644}}
    user = FakeSession("cp", "web:/etc/hosts", "./here")
    assert run(backend, user) == 0
    assert user.received == {"./here": b"a tar"}
    assert run(backend, FakeSession("cp", "web:/nothing", ".")) == 1


@pytest.mark.parametrize(
    ("target", "folder", "name"),
    [("/srv", "/srv", "./file"), ("/srv/", "/srv/", "./file"), ("/srv/new", "/srv", "new"), ("/new", "/", "new")],
)
def test_cp_into_a_folder_or_under_a_new_name(
    backend: FakeBackend, web: Object, target: str, folder: str, name: str
) -> None:
    backend.operations.tree = {path: {"mode": 0o40755} for path in ("/", "/srv", "/srv/")}
    user = FakeSession("cp", "./file", f"web:{target}", files={"./file": b"data"})
    assert run(backend, user) == 0, user.errors
    assert backend.operations.calls == [("copy_in", "web", folder, f"{name}=data".encode())]


@pytest.mark.parametrize(
    "words", [("a", "b"), ("web:/a", "web:/b"), ("./f", "web:/none/new"), ("./f", "web:/none/"), ("./f", "web:")]
)
def test_cp_that_makes_no_sense(backend: FakeBackend, web: Object, words: tuple[str, str]) -> None:
    assert run(backend, FakeSession("cp", *words, files={"./f": b"", "a": b""})) == 1
    assert backend.operations.calls == []


def test_events_of_the_namespace_since_then_of_one_object(backend: FakeBackend, web: Object) -> None:
    other = backend.objects.add(Kind.VOLUME, "data", namespace="other")
    backend.events.add(web, "Created", "early", NOW - timedelta(hours=1))
    backend.events.add(web, "Started", "it\nruns \x1b[2J")
    backend.events.add(other, "Created", "elsewhere")

    def reasons(*argv: str) -> list[str]:
        user = FakeSession("events", *argv)
        assert run(backend, user) == 0, user.errors
        return [line.split()[4] for line in user.text.splitlines()]

    assert reasons() == ["early", "it"]
    assert reasons("--since", "2030-01-31T11:30:00Z") == ["it"]
    assert reasons("-A") == ["early", "it", "elsewhere"]
    assert reasons("volume/data", "-n", "other") == ["elsewhere"]
    user = FakeSession("events", "-o", "json")
    run(backend, user)
    assert [json.loads(line)["message"] for line in user.text.splitlines()] == ["early", "it\nruns \x1b[2J"]


def test_events_are_followed_until_interrupted(backend: FakeBackend, web: Object) -> None:
    user = FakeSession("events", "-f")
    user.interrupted = lambda: b"second" in user.stdout
    backend.events.add(web, "A", "first")
    threading.Thread(target=lambda: (time.sleep(0.1), backend.events.add(web, "B", "second"))).start()
    assert run(backend, user) == 130
    assert "first" in user.text


def test_the_graph_as_a_tree_and_in_other_forms(backend: FakeBackend, web: Object) -> None:
    db, image = ref(Kind.CONTAINER, "db"), ref(Kind.IMAGE, "base")
    backend.edges = [(web.ref, db, "healthy"), (web.ref, image, "ready"), (db, image, "ready")]
    user = FakeSession("graph")
    assert run(backend, user) == 0
    assert user.text == "container/web\n├─ container/db (healthy)\n│  └─ image/base\n└─ image/base\n"
    for form, begins in (("dot", "digraph"), ("mermaid", "graph"), ("svg", "<svg")):
        user = FakeSession("graph", "-o", form)
        assert run(backend, user) == 0
        assert user.text.startswith(begins)
        assert "container/db" in user.text


def test_top_and_stats(backend: FakeBackend, web: Object) -> None:
    user = FakeSession("top", "web")
    assert run(backend, user) == 0
    assert user.text.splitlines()[1].split() == ["7", "101", "0.5", "nginx\\x1b[2J"]
    user = FakeSession("stats")
    assert run(backend, user) == 0
    name, cpu, *_ = user.text.splitlines()[1].split()
    assert name == "web"
    assert 90 < float(cpu) < 110
    assert "3.0 MiB" in user.text
    user = FakeSession("stats", "-o", "json")
    assert run(backend, user) == 0
    assert list(json.loads(user.text)) == ["name", "cpus", "memory", "cpuNanos", "pids"]


def test_version_and_shutdown(backend: FakeBackend) -> None:
    user = FakeSession("version")
    assert run(backend, user) == 0
    assert "pid: 4711" in user.text
    assert "knownIssues: a; b" in user.text
    user = FakeSession("version", "-o", "json")
    run(None, user)
    assert json.loads(user.text)["engine"] is None
    assert run(backend, FakeSession("shutdown")) == 0
    assert backend.ended


@pytest.mark.parametrize("kind", ["", "container"])
def test_a_schema_for_editors(kind: str) -> None:
    user = FakeSession("schema", *([kind] if kind else []))
    assert run(None, user) == 0
    assert "$schema" in json.loads(user.text)


def test_what_comes_later_is_refused_by_name(backend: FakeBackend) -> None:
    user = FakeSession("rollback", "3")
    assert run(backend, user) == 2
    assert user.errors == "lading: `lading rollback` comes in a later version\n"


def test_help_of_a_verb_both_ways() -> None:
    texts = set()
    for argv in (["help", "apply"], ["apply", "--help"], ["--help", "apply"]):
        user = FakeSession(*argv)
        assert run(None, user) == 0
        texts.add(user.text)
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\u202eb", "a\\u202eb"),
        ("\x9b2J", "\\x9b2J"),
        ("tab\tline\nend\r\n", "tab\tline\nend\n"),
        ("over\rwritten", "over\\x0dwritten"),
    ],
)
def test_hostile_text_cannot_steer_a_terminal(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown


def test_tables_count_columns_not_characters() -> None:
    text = table(("NAME", "WHY"), [("日本", "x"), ("e\u0301", "yes"), ("", "y" * 100)], columns=40)
    lines = text.splitlines()
    assert lines[1] == "日本  x"
    assert lines[2] == "e\u0301     yes"
    assert width(lines[3]) == 40
    assert lines[3].endswith("…")
