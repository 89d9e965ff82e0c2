"""Completion scripts for shells, made of the verbs' declarations (PURE); names of objects are asked of the engine."""

from collections.abc import Mapping, Sequence

from controller.cli.commandline.declarations import GLOBALS, Flag, Verb
from resources.errors import InvalidArgument
from resources.kinds import SUPPORTED

_NAMES = "LADING_NO_START=1 lading get all -o name 2>/dev/null | sed -n 's|^container/||p; t; p'"
"""Containers by their bare names, everything else as kind/name. A key that is pressed starts no engine."""
_IMAGES = "LADING_NO_START=1 lading image ls -o name 2>/dev/null"
_NETWORKS = "LADING_NO_START=1 lading get network -o name 2>/dev/null | sed 's|^network/||'"
_OF_FILES = ("apply", "plan", "validate", "graph", "cp", "image import")


def script(shell: str, verbs: Mapping[str, Verb]) -> str:
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if shell not in makers:
        raise InvalidArgument(f"there is no completion for {shell[:40]!r}", hint="bash, zsh or fish")
    return makers[shell](verbs)


def _spelt(flags: Sequence[Flag]) -> list[str]:
    known = (flag for flag in flags if not flag.later)
    return [word for flag in known for word in (f"--{flag.name}", *([f"-{flag.short}"] if flag.short else []))]


def _kinds() -> str:
    return " ".join(kind.lower() for kind in SUPPORTED)


def _words(verb: Verb) -> str:
    """What stands there beside flags: a shell expression, or words."""
    if verb.name in ("get", "schema"):
        return _kinds()
    if verb.name == "completion":
        return "bash zsh fish"
    if verb.below:
        return " ".join(below.name.rpartition(" ")[2] for below in verb.below)
    if verb.name.startswith("image "):
        return f"$({_IMAGES})" if verb.words[1] and verb.name not in _OF_FILES else ""
    if verb.name.startswith("network "):
        return f"$({_NETWORKS}; {_NAMES})" if verb.name.endswith("connect") else f"$({_NETWORKS})"
    if verb.name in ("login", "logout"):
        return ""
    return "" if not verb.words[1] or verb.name in _OF_FILES else f"$({_NAMES})"


def _bash(verbs: Mapping[str, Verb]) -> str:
    cases = "".join(
        f'    "{name}") words="{" ".join(_spelt(verb.flags))} {_words(verb)}" ;;\n' for name, verb in verbs.items()
    )
    groups = "|".join(name for name, verb in verbs.items() if verb.below)
    first = " ".join(name for name in verbs if " " not in name)
    return f"""# lading completion for bash: source <(lading completion bash)
_lading() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} verb="" words="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${{COMP_WORDS[i]}} in
      -n | --namespace | --root | --run-root) ((i++)) ;;
      -*) ;;
      *)
        verb="$verb${{verb:+ }}${{COMP_WORDS[i]}}"
        [[ $verb =~ ^({groups})$ ]] || break
        ;;
    esac
  done
  case $verb in
    "") words="{first}" ;;
{cases}  esac
  words="$words {" ".join(_spelt(GLOBALS))}"
  [[ $word == -* || -z $verb ]] || words=$(printf '%s\\n' $words | grep -v '^-')
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [[ ${{#COMPREPLY[@]}} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _lading lading
"""


def _zsh(verbs: Mapping[str, Verb]) -> str:
    first = {name: verb for name, verb in verbs.items() if " " not in name}
    listed = "\n".join(f"    {_quoted(f'{name}:{verb.summary}')}" for name, verb in first.items())
    cases = "".join(f"    {_quoted(name)}) {_zsh_case(verb)} ;;\n" for name, verb in verbs.items())
    groups = "|".join(name for name, verb in verbs.items() if verb.below)
    return f"""#compdef lading
# lading completion for zsh: source <(lading completion zsh)
_lading() {{
  local -a verbs; local verb=${{words[2]}}
  verbs=(
{listed}
  )
  if (( CURRENT == 2 )); then _describe command verbs; return; fi
  if (( CURRENT > 3 )) && [[ $verb == ({groups}) ]]; then verb="$verb ${{words[3]}}"; fi
  case $verb in
{cases}  esac
  _files
}}
compdef _lading lading
"""


def _zsh_case(verb: Verb) -> str:
    flags = " ".join(_quoted(word) for word in _spelt((*verb.flags, *GLOBALS)))
    words = _words(verb)
    return f"compadd -- {flags}" + (f"; compadd -- {words}" if words else "")


def _fish(verbs: Mapping[str, Verb]) -> str:
    lines = ["# lading completion for fish: lading completion fish | source"]
    for name, verb in verbs.items():
        group, _, last = name.rpartition(" ")
        seen = [f"__fish_seen_subcommand_from {word}" for word in name.split()]
        if not group:
            lines.append(f"complete -c lading -f -n __fish_use_subcommand -a {name} -d {_quoted(verb.summary)}")
        else:
            lines.append(f"complete -c lading -f -n '{seen[0]}' -a {last} -d {_quoted(verb.summary)}")
        when = f"-n '{'; and '.join(seen)}'"
        for flag in (flag for flag in verb.flags if not flag.later):
            lines.append(_fish_flag(flag, when))
        words = _words(verb).replace("$(", "(")
        if words and not verb.below:
            lines.append(f"complete -c lading -f {when} -a {_quoted(words)}")
        if verb.name in _OF_FILES:
            lines.append(f"complete -c lading -F {when}")
    lines += [_fish_flag(flag, "") for flag in GLOBALS]
    return "\n".join(lines) + "\n"


def _fish_flag(flag: Flag, when: str) -> str:
    short = f" -s {flag.short}" if flag.short else ""
    value = " -r" if flag.value and not flag.optional else ""
    choices = f" -a {_quoted(' '.join(flag.choices))}" if flag.choices else ""
    return f"complete -c lading {when}{short} -l {flag.name}{value}{choices} -d {_quoted(flag.help)}".replace("  ", " ")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
