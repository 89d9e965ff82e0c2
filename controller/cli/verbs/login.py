"""login, logout: who the user is at a registry."""

import json

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Flag, Verb
from controller.cli.text.clean import clean
from controller.cli.verbs.image import unavailable
from resources.errors import InvalidArgument, Unavailable
from resources.image_reference import DEFAULT_DOMAIN

_MAX_PASSWORD = 8192
_PIPE = "without one: `pass registry | lading login HOST --username NAME --password-stdin`"


def login(call: Call) -> int:
    host = _host(call)
    if call.arguments.on("list"):
        return _list(call)
    username, password = call.arguments.text("username"), call.arguments.text("password")
    if call.arguments.on("password-stdin"):
        password = _piped(call, username, password)
    elif password:
        call.note("a password on the command line can be read by others; --password-stdin is safer")
    if not (username and password) and not call.session.stdin_tty:
        asked = "the password" if username else "the name and the password"
        raise InvalidArgument(f"there is no terminal to ask for {asked} on", hint=_PIPE)
    username = username or call.session.ask(clean(f"name at {host}: ")).strip()
    password = password or call.session.ask(clean(f"password of {username} at {host}: "), hidden=True)
    try:
        where = call.backend.images.logins.log_in(host, username, password)
    except Unavailable as error:
        raise unavailable(error) from error
    call.line(f"logged in at {host} as {username}; saved in {where}")
    return 0


def _piped(call: Call, username: str, password: str) -> str:
    if password:
        raise InvalidArgument("the password is given twice: -p and --password-stdin")
    if not username:
        raise InvalidArgument("--password-stdin needs --username")
    text = call.session.read("-", _MAX_PASSWORD).decode("utf-8", "replace")
    found = text.removesuffix("\n").removesuffix("\r")
    if not found:
        raise InvalidArgument(
            "there is no password on standard input", hint="pipe it in, as `pass registry | lading login …`"
        )
    return found


def logout(call: Call) -> int:
    host, logins = _host(call), call.backend.images.logins
    call.line(f"logged out of {host}" if logins.log_out(host) else f"not logged in at {host}")
    if host in dict(logins.list()):
        call.note(f"what `docker login` saved for {host} is used from now on; `docker logout {host}` forgets it")
    return 0


def _list(call: Call) -> int:
    found = call.backend.images.logins.list()
    if call.arguments.text("output") == "json":
        call.session.out(json.dumps([{"registry": host, "username": name} for host, name in found]) + "\n")
        return 0
    for host, name in found:
        call.line(f"{host}  {name}")
    return 0


def _host(call: Call) -> str:
    return call.arguments.words[0] if call.arguments.words else DEFAULT_DOMAIN


VERBS = (
    Verb(
        "login",
        "[HOST]",
        "log in at a registry (default: docker.io)",
        login,
        (
            Flag("username", "asked for on a terminal", short="u", value="USER"),
            Flag("password", "asked for on a terminal; others can see what is given here", short="p", value="PASSWORD"),
            Flag("password-stdin", "read it from standard input"),
            Flag("list", "only say where one is logged in, and as whom"),
            Flag("output", "how to print the list", short="o", value="FORM", choices=("text", "json")),
        ),
        (0, 1),
        text="""Saved once the registry has taken it, for every pull of this engine. What `docker login` saved is used as well.

  lading login registry.local:5000 -u me          pass registry | lading login -u me --password-stdin""",
    ),
    Verb("logout", "[HOST]", "forget a login", logout, (), (0, 1)),
)
