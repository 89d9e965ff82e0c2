"""Verbs explained, each and all of them, as they are declared (PURE)."""

from collections.abc import Mapping, Sequence

from controller.cli.commandline.declarations import GLOBALS, Flag, Verb


def overview(groups: Mapping[str, Sequence[Verb]]) -> str:
    lines = ["lading: containers from a description of what should be there", "", "usage: lading COMMAND [flags]", ""]
    for title, verbs in groups.items():
        lines += [f"{title}:", *(f"  {verb.name:<11} {verb.summary}" for verb in verbs), ""]
    lines += ["flags of every command:", *_flag_lines(GLOBALS), ""]
    lines.append("`lading COMMAND --help` explains one. NAME alone means container/NAME.")
    return "\n".join(lines) + "\n"


def explanation(verb: Verb) -> str:
    lines = [f"lading {verb.name}: {verb.summary}", "", f"usage: lading {verb.name} {verb.usage}".rstrip()]
    lines += ["", verb.text.strip()] if verb.text else []
    lines += ["", *(f"  {below.name:<18} {below.summary}" for below in verb.below)] if verb.below else []
    lines += ["", "flags:", *_flag_lines(verb.flags)] if verb.flags else []
    lines += ["", "flags of every command:", *_flag_lines(GLOBALS)]
    return "\n".join(lines) + "\n"


def _flag_lines(flags: Sequence[Flag]) -> list[str]:
    shown = []
    for flag in flags:
        if flag.later:
            continue
        equals = f"[={flag.value}]" if flag.optional else f" {flag.value}" if flag.value else ""
        short = f"-{flag.short}, " if flag.short else "    "
        choices = f" ({', '.join(flag.choices)})" if flag.choices and not flag.optional else ""
        again = "; may be repeated" if flag.repeat else ""
        shown.append((f"  {short}--{flag.name}{equals}", f"{flag.help}{choices}{again}"))
    width = min(max((len(left) for left, _ in shown), default=0), 30)
    return [f"{left:<{width}}  {right}" for left, right in shown]
