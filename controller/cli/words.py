"""As much of the command line as the client has to know before it can ask the engine: the verb and the roots."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = "/var/lib/lading"
RUN_ROOT = "/run/lading"
_VARIABLES = {"--root": b"LADING_ROOT", "--run-root": b"LADING_RUN_ROOT"}
NO_PROCESS = {"exec": 125, "attach": 125, "wait": 125}
"""Verbs that end with the code of a process, and what they end with where there is none; all others with 1."""

ENGINE, ASK_OR_HERE, HERE = "engine", "ask or here", "here"
"""Needs an engine, and starts one · asks an engine that runs, and does without otherwise · runs in the client's process."""

_ENGINE = (
    *("apply", "plan", "delete", "get", "describe", "graph", "events", "top", "stats", "df"),
    *("start", "stop", "restart", "pause", "resume", "kill", "rename", "wait", "logs", "exec", "attach", "cp"),
    *("image", "network", "login", "logout", "shutdown"),
)
_HERE = ("serve", "doctor")
_GLOBAL_VALUES = ("--root", "--run-root", "-n", "--namespace")
_EXEC_VALUES = ("-e", "--env", "-u", "--user", "-w", "--workdir")


class Line:
    __slots__ = ("flaw", "policy", "root", "run_root", "verb")

    def __init__(self, verb: str, policy: str, root: str, run_root: str, flaw: str = "") -> None:
        """`flaw`: what is wrong with what the environment says, in words."""
        self.verb = verb
        self.policy = policy
        self.root = root
        self.run_root = run_root
        self.flaw = flaw


def scan(argv: "Sequence[str]", environment: "Mapping[bytes, bytes] | None" = None) -> Line:
    """A flag wins over its variable of the environment, and that over what is usual."""
    verb, flags, roots = "", set(), {"--root": "", "--run-root": ""}
    words = 0
    arguments = iter(argv)
    for word in arguments:
        # What follows the command of an exec is that command's.
        if word == "--" or (verb == "exec" and words == 3):
            break
        name, equals, value = word.partition("=")
        if name in roots:
            roots[name] = value if equals else next(arguments, "")
        elif word in _GLOBAL_VALUES or (verb == "exec" and word in _EXEC_VALUES):
            next(arguments, "")
        elif word.startswith("-"):
            flags.add(name)
        else:
            words += 1
            verb = verb or word
    flaw = ""
    for name, usual in (("--root", ROOT), ("--run-root", RUN_ROOT)):
        if not roots[name]:
            variable = _VARIABLES[name]
            roots[name] = (environment or {}).get(variable, b"").decode("utf-8", "surrogateescape") or usual
            if not roots[name].startswith("/"):
                flaw = f"{variable.decode()} is no absolute path: another folder would mean another engine"
    return Line(verb, _policy(verb, flags), roots["--root"], roots["--run-root"], flaw)


def _policy(verb: str, flags: "set[str]") -> str:
    if verb in _HERE or (verb == "apply" and "--once" in flags) or (verb == "version" and "--client" in flags):
        return HERE
    if verb not in _ENGINE or "-h" in flags or "--help" in flags:
        return ASK_OR_HERE
    return ENGINE
