"""PURE: files of variables, read as `docker run --env-file` reads them.

One `NAME=VALUE` a line; the value is everything after the first "=", kept as it is, quotes too; a line that begins with
"#" is a comment. Unlike there a name alone is an error: nothing is taken from an environment that is not named.
"""

LIMIT = 1024 * 1024


def parse_env_file(data: bytes) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """The variables, the last of a name holding, and what is wrong as (line, message)."""
    found: dict[str, str] = {}
    problems: list[tuple[int, str]] = []
    if len(data) > LIMIT:
        return {}, [(1, f"has {len(data)} bytes, and {LIMIT} are the most it may")]
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError:
            problems.append((number, "is not UTF-8"))
            continue
        if not line or line.startswith("#"):
            continue
        name, sign, value = line.partition("=")
        flaw = _flaw(name, sign, value)
        if flaw:
            problems.append((number, flaw))
        else:
            found[name] = value
    return found, problems


def _flaw(name: str, sign: str, value: str) -> str:
    if not name:
        return "has no name before '='"
    if any(character.isspace() for character in name):
        return "has white space in the name; a line is NAME=VALUE"
    if not name.isprintable():
        return "has a name that cannot be printed"
    if not sign:
        return f"has no '=' after {name!r}; nothing is taken from the environment here, so say {name}=VALUE"
    return "has a NUL character in the value" if "\0" in value else ""
