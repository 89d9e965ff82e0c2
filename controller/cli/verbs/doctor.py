"""`lading doctor [--fix]`: what this machine lacks, why it matters, how to mend it. Needs no engine."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from controller.cli import words
from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import Flag, Verb
from controller.settings import Settings
from drivers.host.findings import findings
from drivers.host.interface import Finding, Host, Installed, Level

_MARKS = {Level.OK: "ok", Level.WARNING: "warning", Level.MISSING: "MISSING"}
_COLOURS = {Level.OK: "32", Level.WARNING: "33", Level.MISSING: "31"}


def doctor(call: Call) -> int:
    # Here and not in the wiring: it has to run where no engine can be put together.
    from drivers.host.linux import LinuxHost

    line = words.scan(call.session.argv, os.environb)  # it runs in the process of who asks
    root, run_root = Path(line.root).absolute(), Path(line.run_root).absolute()
    form, color = call.arguments.text("output", "text"), call.session.color and call.session.stdout_tty
    host = LinuxHost(root, run_root, Settings(root=root, run_root=run_root).instance)
    return diagnose(host, call.session.out, fix=call.arguments.on("fix"), form=form, color=color)


def diagnose(
    host: Host, out: Callable[[str], None], *, fix: bool = False, form: str = "text", color: bool = False
) -> int:
    """Print what was found, and with `fix` what was done about it. The exit code: 1 while something is missing."""
    found = findings(host.facts())
    done = None
    if fix and any(_mendable(finding) for finding in found):
        done = host.install([finding for finding in found if _mendable(finding)])
        found = findings(host.facts())
    out(_json(found, done) if form == "json" else _text(found, done, color=color))
    return 1 if any(finding.level is Level.MISSING for finding in found) else 0


def _mendable(finding: Finding) -> bool:
    return finding.level is not Level.OK and bool(finding.package or finding.check == "group")


def _json(found: Sequence[Finding], done: Installed | None) -> str:
    document = {
        "findings": [{**asdict(finding), "level": finding.level.value} for finding in found],
        "steps": list(done.steps) if done else [],
        "problems": list(done.problems) if done else [],
    }
    return json.dumps(document) + "\n"


def _text(found: Sequence[Finding], done: Installed | None, *, color: bool) -> str:
    lines = []
    for step in done.steps if done else ():
        lines.append(f"did: {step}")
    for problem in done.problems if done else ():
        lines.append(f"could not: {problem}")
    if lines:
        lines.append("")
    for finding in found:
        mark = _MARKS[finding.level].ljust(8)
        lines.append(f"{_colour(mark, finding.level) if color else mark} {finding.check}: {finding.what}")
        if finding.why:
            lines.append(f"         {finding.why}")
        if finding.fix and finding.level is not Level.OK:
            lines.append(f"         to mend it: {finding.fix}")
    return "\n".join([*lines, "", _summary(found, done)]) + "\n"


def _colour(text: str, level: Level) -> str:
    return f"\033[{_COLOURS[level]}m{text}\033[0m"


def _summary(found: Sequence[Finding], done: Installed | None) -> str:
    missing = sum(finding.level is Level.MISSING for finding in found)
    warnings = sum(finding.level is Level.WARNING for finding in found)
    if not missing and not warnings:
        return "This machine has all that lading needs."
    text = f"{missing} missing, {warnings} {'warning' if warnings == 1 else 'warnings'}."
    if done is None and any(_mendable(finding) for finding in found):
        text += " `lading doctor --fix` installs what apt can."
    return text


VERBS = (
    Verb(
        "doctor",
        "[--fix]",
        "say what this machine lacks, why it matters and how to mend it",
        doctor,
        (
            Flag("fix", "install what apt can, and make the group"),
            Flag("output", "how to print", short="o", value="FORM", choices=("text", "json")),
        ),
        text="Needs no engine. Exits with 1 while something is missing that containers cannot run without.",
    ),
)
