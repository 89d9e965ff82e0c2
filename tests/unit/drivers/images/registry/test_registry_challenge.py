"""What a 401 asks for, read from headers that anybody may have written."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.images.registry.challenge import challenges


@pytest.mark.parametrize(
    ("headers", "parsed"),
    [
        (['Basic realm="x"'], [("basic", {"realm": "x"})]),
        (["basic"], [("basic", {})]),
        (
            ['Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"'],
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        (
            ['Bearer realm="a, b" , error=invalid_token, Basic realm="c\\"d"'],
            [("bearer", {"realm": "a, b", "error": "invalid_token"}), ("basic", {"realm": 'c"d'})],
        ),
        (["Negotiate", 'Bearer REALM="x",realm="y"'], [("negotiate", {}), ("bearer", {"realm": "x"})]),
        (['Bearer realm="unclosed'], [("bearer", {})]),
        (['realm="nobody"'], []),
        (["", " , ,"], []),
        (['Bearer realm="x\r\ny"'], []),
        (["Bearer " + "x=y," * 5000], []),
    ],
)
def test_challenges(headers: list[str], parsed: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in challenges(headers)] == parsed


@given(st.lists(st.text(alphabet='Bearer ,="\\realm\tx', max_size=200), max_size=3))
def test_any_header_is_read_quickly(headers: list[str]) -> None:
    started = time.monotonic()
    assert len(challenges(headers)) <= 16
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("head", ["Basic", "Bearer x", 'Bearer x="y"', "Bearer x="])
def test_a_header_of_spaces_is_read_quickly(head: str) -> None:
    """A registry chooses it, and nothing else runs while an expression looks at it."""
    begun = time.process_time()
    challenges([f"{head}{' ' * 8100}@"] * 16)
    assert time.process_time() - begun < 1


def test_many_challenges_are_cut_off() -> None:
    assert len(challenges(["Basic, " * 1000] * 100)) == 16
