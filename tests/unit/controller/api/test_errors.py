"""The one table from errors to HTTP."""

import pytest

from controller.admission.admit import Refused
from controller.api.errors import STATUS, answer
from controller.store.interface import Compacted
from manifests.problems import Position, Problem
from resources import errors
from resources.errors import Conflict, EngineError, InvalidArgument


def test_every_class_has_its_status() -> None:
    classes = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, EngineError) and value is not EngineError
    }
    assert set(STATUS) == classes
    for kind in classes:
        status, body = answer(kind("said", hint="do this"))
        assert (status, body["code"], body["message"], body["hint"]) == (STATUS[kind], kind.reason, "said", "do this")


def test_a_class_of_its_own_has_that_of_its_base() -> None:
    class Special(Conflict):
        reason = "Special"

    assert answer(Special("x")) == (409, {"code": "Special", "message": "x", "hint": "", "problems": []})
    assert answer(EngineError("x"))[0] == 500


@pytest.mark.parametrize("error", [RuntimeError("secret words"), MemoryError(), KeyError("secret words")])
def test_what_nobody_expected_says_nothing_of_itself(error: Exception) -> None:
    status, body = answer(error)
    assert (status, body["code"]) == (500, "Internal")
    assert "secret" not in str(body)


def test_problems_have_their_places() -> None:
    problem = Problem(Position("web.yaml", 3, 5), "spec.image", "is missing")
    status, body = answer(Refused([problem]))
    assert status == 422
    assert body["problems"] == [
        {"file": "web.yaml", "line": 3, "column": 5, "path": "spec.image", "message": "is missing", "warning": False}
    ]


def test_a_revision_that_is_gone() -> None:
    assert answer(Compacted())[0] == 410


def test_of_several_errors_the_worst_is_the_status() -> None:
    status, body = answer(ExceptionGroup("both", [InvalidArgument("a"), ExceptionGroup("x", [Conflict("b")])]))
    assert (status, body["code"]) == (409, "Conflict")
    assert len(body["problems"]) == 2
