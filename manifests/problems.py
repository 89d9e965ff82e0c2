"""What is wrong, and where: `file:line:column: path.to.field: what is wrong`."""

from collections.abc import Iterable
from dataclasses import dataclass

from resources import paths


@dataclass(frozen=True, slots=True, order=True)
class Position:
    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        file = self.file if self.file.isprintable() else ascii(self.file)
        return f"{file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    position: Position
    path: str
    """"" when it concerns the document, or the file, as a whole."""
    message: str
    warning: bool = False

    def __str__(self) -> str:
        kind = "warning: " if self.warning else ""
        path = f"{self.path}: " if self.path else ""
        return f"{self.position}: {kind}{path}{self.message}"


MAX_PROBLEMS = 500


class Full(Exception):
    """Enough is wrong: the rest is not looked at."""


class Report:
    """Collects problems, a bounded number of them: a hostile file must not cost more than its size."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, position: Position, steps: Iterable[str | int], message: str, *, warning: bool = False) -> None:
        """Raises: Full."""
        self.extend([Problem(position, paths.joined(steps), message, warning)])

    def extend(self, problems: Iterable[Problem]) -> None:
        """Raises: Full."""
        for problem in problems:
            if len(self.problems) >= MAX_PROBLEMS:
                message = f"there are more than {MAX_PROBLEMS} problems; the rest is not looked at"
                self.problems.append(Problem(problem.position, "", message))
                raise Full
            self.problems.append(problem)


def in_order(problems: Iterable[Problem], files: Iterable[str]) -> tuple[Problem, ...]:
    """Sorted as a reader meets them: files as given, then by line and column; each but once."""
    rank = {name: number for number, name in enumerate(files)}

    def key(problem: Problem) -> tuple[int, Position, str, str]:
        return rank.get(problem.position.file, len(rank)), problem.position, problem.path, problem.message

    return tuple(sorted(dict.fromkeys(problems), key=key))


def shown(text: str, limit: int = 60) -> str:
    """A user's word inside a message: quoted, cut, and with nothing a terminal would obey."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return repr(cut)
