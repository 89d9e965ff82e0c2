"""The parser's complaints in plain words, with the hint that usually helps."""

import yaml

from manifests.problems import Position, Problem

MAX_DEPTH = 64
TOO_DEEP = f"is nested deeper than {MAX_DEPTH}"
_WORDS = {
    "found unexpected end of stream": "the file ends inside a quoted text",
    "mapping values are not allowed in this context": (
        "a ': ' cannot stand here; quote the text, or begin a new line with the right indentation"
    ),
    "could not find expected ':'": "a ':' is missing after the key",
    "did not find expected <document start>": "'---' is missing between two documents",
    "did not find expected key": "a key was expected here; check the indentation",
    "did not find expected '-' indicator": "a '- ' was expected here; check the indentation",
    "did not find expected ',' or ']'": "a ',' or the closing ']' is missing",
    "did not find expected ',' or '}'": "a ',' or the closing '}' is missing",
    "found invalid Unicode character escape code": "the escape does not stand for a character",
    "found unknown escape character": "there is no such escape; in double quotes a backslash is written twice",
    "found incompatible YAML document": "the %YAML version is not one of 1.1 and 1.2",
    "block sequence entries are not allowed in this context": "a '- ' cannot stand here; begin a new line",
}


def syntax_problem(file: str, text: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return Problem(Position(file), "", "cannot be read as YAML")
    position = Position(file, mark.line + 1, mark.column + 1)
    problem = str(getattr(error, "problem", None) or "cannot be read as YAML")
    if _before(text, position).endswith("${"):
        words = "inside [ ] and { } a text with ${…} has to be quoted; for a number, write the map on lines of its own"
    elif problem == "exceeded maximum nesting depth":  # which newer parsers have a limit of their own for
        words = TOO_DEEP
    elif "start any token" in problem:
        words = _token(text, position)
    else:
        words = _worded(error, problem)
    return Problem(position, "", words)


def _worded(error: yaml.YAMLError, problem: str) -> str:
    words = _WORDS.get(problem, problem)
    context, mark = getattr(error, "context", None), getattr(error, "context_mark", None)
    if mark is None or not context:
        return words
    what = str(context).removeprefix("while ")
    return f"{words} ({what} that begins in line {mark.line + 1})"


def _token(text: str, position: Position) -> str:
    sign = _before(text, position)[-1:]
    if sign == "\t":
        return "a tab cannot indent; use spaces"
    return f"a text that begins with {sign or 'this sign'} has to be quoted"


def _before(text: str, position: Position) -> str:
    """The line up to and with the sign at the position."""
    lines = text.split("\n")
    return lines[position.line - 1][: position.column] if position.line <= len(lines) else ""
