"""PURE: the one table from errors to HTTP: status, and a body with code, message, hint and problems. Never a traceback."""

from collections.abc import Mapping
from typing import Any

from controller.admission.admit import Refused
from controller.store.interface import Compacted
from manifests.problems import Problem
from resources.errors import (
    AlreadyExists,
    Cancelled,
    Conflict,
    DataLoss,
    EngineError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)

STATUS: Mapping[type[EngineError], int] = {
    InvalidArgument: 400,
    PermissionDenied: 403,
    NotFound: 404,
    AlreadyExists: 409,
    Conflict: 409,
    FailedPrecondition: 409,
    Unsupported: 422,
    DataLoss: 500,
    Unavailable: 503,
    Cancelled: 503,
    ResourceExhausted: 507,
}
_INTERNAL = 500


def answer(error: BaseException) -> tuple[int, dict[str, Any]]:
    """The status and the JSON body of an error."""
    if isinstance(error, BaseExceptionGroup):
        return _of_group(error)
    if isinstance(error, Compacted):
        return 410, body(
            "Compacted", "that revision is no longer kept", "list again, and go on from what the list says"
        )
    if not isinstance(error, EngineError):
        return _INTERNAL, body("Internal", "the engine failed at this", "its log has the reason")
    if isinstance(error, Refused):
        problems = [_problem(problem) for problem in error.problems]
        return 422, body(error.reason, "the manifests are refused, nothing was changed", problems=problems)
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), _INTERNAL)
    return status, body(error.reason, error.message, error.hint)


def body(code: str, message: str, hint: str = "", problems: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "hint": hint, "problems": problems or []}


def _of_group(group: BaseExceptionGroup[BaseException]) -> tuple[int, dict[str, Any]]:
    answers = [answer(error) for error in group.exceptions]
    status = max(status for status, _ in answers)
    problems = [{"code": found["code"], "message": found["message"]} for _, found in answers]
    first = next(found for code, found in answers if code == status)
    return status, body(first["code"], first["message"], first["hint"], problems)


def _problem(problem: Problem) -> dict[str, Any]:
    where = problem.position
    return {
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "path": problem.path,
        "message": problem.message,
        "warning": problem.warning,
    }
