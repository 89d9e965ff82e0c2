"""login and logout, and what the engine takes for a registry and a name."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.cli.commandline.call import Call
from controller.images.logins import RegistryLogins
from drivers.images.interface import Credentials
from resources.errors import InvalidArgument, PermissionDenied
from tests.unit.controller.cli.clients import Terminal, command, terminal, until
from tests.unit.controller.cli.fakes import FakeBackend, FakeEvents, FakeSession, run


def test_what_is_not_given_is_asked_for_without_echo(backend: FakeBackend) -> None:
    user = FakeSession("login", "r.local:5000", tty=True)
    user.answers = ["me", "secret"]
    assert run(backend, user) == 0
    assert user.asked == [("name at r.local:5000: ", False), ("password of me at r.local:5000: ", True)]
    assert user.text == "logged in at r.local:5000 as me; saved in /root/credentials.json\n"
    assert backend.logins.saved == {"r.local:5000": "me"}


def test_a_password_comes_on_standard_input(backend: FakeBackend) -> None:
    user = FakeSession("login", "-u", "me", "--password-stdin", files={"-": b"secret\n"})
    assert run(backend, user) == 0
    assert backend.logins.saved == {"docker.io": "me"}
    assert "secret" not in user.text + user.errors


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["login"],
            "there is no terminal to ask for the name and the password on (without one: `pass registry | lading",
        ),
        (["login", "-u", "me"], "there is no terminal to ask for the password on (without one: "),
        (["login", "-u", "me", "--password-stdin"], "there is no password on standard input (pipe it in"),
        (["login", "--password-stdin"], "needs --username"),
        (["login", "-u", "me", "-p", "secret", "--password-stdin"], "given twice"),
        (["login", "-u", "me", "-p", "wrong"], "does not take this login"),
    ],
)
def test_what_is_no_login_is_refused(backend: FakeBackend, argv: list[str], said: str) -> None:
    user = FakeSession(*argv, files={"-": b"\n"})
    assert run(backend, user) == 1
    assert said in user.errors
    assert backend.logins.saved == {}


def test_a_registry_that_is_down_is_told_with_what_to_do(backend: FakeBackend) -> None:
    backend.logins.down = True
    user = FakeSession("login", "-u", "me", "-p", "secret", "r.local")
    assert run(backend, user) == 1
    assert "r.local cannot be reached (look whether it runs" in user.errors


def test_a_password_on_the_command_line_is_warned_of(backend: FakeBackend) -> None:
    user = FakeSession("login", "-u", "me", "-p", "secret")
    assert run(backend, user) == 0
    assert "can be read by others" in user.errors


def test_logout_and_list(backend: FakeBackend) -> None:
    backend.logins.saved = {"docker.io": "me"}
    listed = FakeSession("login", "--list")
    assert run(backend, listed) == 0
    assert listed.text == "docker.io  me\n"
    for said in ("logged out of docker.io", "not logged in at docker.io"):
        user = FakeSession("logout")
        assert run(backend, user) == 0
        assert user.text == f"{said}\n"


def test_logout_says_when_another_login_takes_over(backend: FakeBackend) -> None:
    backend.logins.saved = {"docker.io": "me"}
    backend.logins.others = {"docker.io": "docker"}
    user = FakeSession("logout")
    assert run(backend, user) == 0
    assert "what `docker login` saved for docker.io is used" in user.errors


class Store:
    def __init__(self) -> None:
        self.kept: dict[str, Credentials] = {}

    def get(self, host: str) -> Credentials | None:
        return self.kept.get(host)

    def put(self, host: str, credentials: Credentials) -> None:
        self.kept[host] = credentials

    def delete(self, host: str) -> bool:
        return self.kept.pop(host, None) is not None

    def list(self) -> list[tuple[str, str]]:
        return [(host, found.username) for host, found in sorted(self.kept.items())]


@pytest.mark.parametrize(
    ("written", "registry"),
    [
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://r.local:5000", "r.local:5000"),
        ("localhost", "localhost"),
    ],
)
def test_a_registry_is_what_docker_users_write(written: str, registry: str) -> None:
    store, asked, events = Store(), list[str](), FakeEvents()
    logins = RegistryLogins(lambda host, _: asked.append(host), store, Path("/c.json"), events)
    assert logins.log_in(written, "me", "secret") == "/c.json"
    assert (asked, logins.list()) == ([registry], [(registry, "me")])
    assert logins.log_out(written)
    assert not logins.log_out(written)
    assert [event.reason for event in events.read()] == ["LoggedIn", "LoggedOut"]
    assert "secret" not in str(events.read())


@pytest.mark.parametrize("host", ["", "docker", "a/b", "r.local:99999", "r.local\n", "me@r.local"])
def test_what_is_no_registry_is_not_asked(host: str) -> None:
    logins = RegistryLogins(lambda *_: pytest.fail("it was asked"), Store(), Path("/c.json"), FakeEvents())
    with pytest.raises(InvalidArgument, match="no registry"):
        logins.log_in(host, "me", "secret")


@pytest.mark.parametrize(
    ("name", "password"), [("", "x"), ("me", ""), ("a:b", "x"), ("me", "a\nb"), ("me", "x" * 5000)]
)
def test_what_no_registry_could_take_is_not_sent(name: str, password: str) -> None:
    logins = RegistryLogins(lambda *_: pytest.fail("it was asked"), Store(), Path("/c.json"), FakeEvents())
    with pytest.raises(InvalidArgument):
        logins.log_in("r.local", name, password)


def test_what_a_registry_refuses_is_not_saved() -> None:
    def refuse(host: str, credentials: Credentials) -> None:
        raise PermissionDenied(host)

    store = Store()
    with pytest.raises(PermissionDenied):
        RegistryLogins(refuse, store, Path("/c.json"), FakeEvents()).log_in("r.local", "me", "secret")
    assert store.kept == {}


def test_a_question_at_a_real_terminal(server: Path, verb: Callable[[Callable[[Call], int]], None]) -> None:
    def question(call: Call) -> int:
        call.line(f"<{call.session.ask('password: ', hidden=True)}>")
        call.line(f"<{call.session.ask('sure? ')}>")
        return 0

    verb(question)
    with terminal(command(server, "question")) as user:
        until(lambda: user.shows(b"password: "))
        user.type(b"hush\r")
        until(lambda: user.shows(b"sure? "))
        user.type(b"yes\r")
        until(lambda: user.shows(b"<yes>"))
        assert user.shows(b"<hush>")
        assert user.shown.count(b"hush") == 1
        assert user.client.wait(10) == 0
        assert user.as_before


@pytest.mark.parametrize(
    "leave", [lambda user: user.client.send_signal(signal.SIGINT), lambda user: user.type(b"\x04")]
)
def test_a_question_can_be_left(
    server: Path, verb: Callable[[Callable[[Call], int]], None], leave: Callable[[Terminal], None]
) -> None:
    def question(call: Call) -> int:
        return len(call.session.ask("password: ", hidden=True))

    verb(question)
    with terminal(command(server, "question")) as user:
        until(lambda: user.shows(b"password: "))
        until(lambda: not user.as_before)
        leave(user)
        assert user.client.wait(10) == 130
        assert user.as_before
