"""As much of the command line as the client has to know before it can ask the engine: the verb and the roots."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = "/var/lib/lading"
RUN_ROOT = "/run/lading"

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
    __slots__ = ("policy", "root", "run_root", "verb")

    def __init__(self, verb: str, policy: str, root: str, run_root: str) -> None:
        self.verb = verb
        self.policy = policy
        self.root = root
        self.run_root = run_root


def scan(argv: "Sequence[str]") -> Line:
    verb, flags, roots = "", set(), {"--root": ROOT, "--run-root": RUN_ROOT}
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
    return Line(verb, _policy(verb, flags), roots["--root"], roots["--run-root"])


def _policy(verb: str, flags: "set[str]") -> str:
    if verb in _HERE or (verb == "apply" and "--once" in flags) or (verb == "version" and "--client" in flags):
        return HERE
    if verb not in _ENGINE or "-h" in flags or "--help" in flags:
        return ASK_OR_HERE
    return ENGINE
