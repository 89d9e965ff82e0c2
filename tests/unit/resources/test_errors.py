"""What a failure comes down to."""

import errno
import os

import pytest

from resources.errors import DataLoss, EngineError, ResourceExhausted, Unavailable, engine_error


def lack(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/run/x/record.json")


def caused(failure: Exception, cause: Exception) -> Exception:
    failure.__cause__ = cause
    return failure


@pytest.mark.parametrize(
    "failure",
    [
        lack(errno.EMFILE),
        caused(Unavailable("conmon cannot be run", hint="install conmon"), lack(errno.EMFILE)),
        caused(DataLoss("a record is damaged"), caused(ValueError("x"), lack(errno.EMFILE))),
    ],
)
def test_without_descriptors_nothing_else_is_the_matter(failure: Exception) -> None:
    found = engine_error(failure)
    assert isinstance(found, ResourceExhausted)
    assert found.retryable
    assert str(found).startswith("the engine has no file descriptors left (raise LimitNOFILE")


def test_a_host_without_descriptors_is_another_matter() -> None:
    assert str(engine_error(lack(errno.ENFILE))).startswith("this host has no file descriptors left (raise the sysctl")


@pytest.mark.parametrize("failure", [lack(errno.ENOENT), ValueError("x"), caused(DataLoss("x"), lack(errno.EIO))])
def test_anything_else_stays_what_it_is(failure: Exception) -> None:
    assert engine_error(failure) is failure


def test_of_a_group_each_part_is_told() -> None:
    other = Unavailable("nobody answers")
    found = engine_error(ExceptionGroup("not wholly gone", [other, lack(errno.EMFILE)]))
    assert isinstance(found, ExceptionGroup)
    assert found.exceptions[0] is other
    assert isinstance(found.exceptions[1], EngineError)
