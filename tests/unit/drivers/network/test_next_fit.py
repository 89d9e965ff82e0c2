"""Numbers in turn."""

from hypothesis import given
from hypothesis import strategies as st

from drivers.network.ipam.next_fit import NextFit, Searches

NUMBERS = range(10, 20)


@given(st.integers(0, 30), st.sets(st.integers(10, 19)), st.sets(st.integers(10, 19)))
def test_each_that_is_free_comes_once_before_any_comes_again(start: int, taken: set[int], never: set[int]) -> None:
    search = NextFit(NUMBERS, start, taken)
    got = []
    while (number := search.take(never)) is not None:
        got.append(number)
    assert sorted(got) == [number for number in NUMBERS if number not in taken | never]
    begin = start if start in NUMBERS else 10
    assert got == sorted(got, key=lambda number: (number < begin, number))


def test_a_wide_range_is_not_walked() -> None:
    search = NextFit(range(2**64), 2**63, range(2**63, 2**63 + 5))
    assert search.take(()) == 2**63 + 5
    assert NextFit(range(5, 5), 0).take(()) is None


def test_what_is_taken_is_read_anew_when_that_is_asked_for_or_most_of_it_may_be_free() -> None:
    searches, reads = Searches(), 0

    def taken() -> list[int]:
        nonlocal reads
        reads += 1
        return [3, 5]

    numbers = range(100_000)
    assert searches.get("a", numbers, taken, fresh=False).take(()) == 6
    assert searches.get("a", numbers, taken, fresh=False).take(()) == 7
    assert reads == 1
    assert searches.get("a", numbers, taken, fresh=True).take(()) == 8, "it goes on where it was"
    assert reads == 2
    for expected in range(9, 9 + 4098):
        assert searches.get("a", numbers, taken, fresh=False).take(()) == expected
    assert reads == 2
    assert searches.get("a", numbers, taken, fresh=False).take(()) == 4107
    assert reads == 3, "what it remembers is bounded"
    assert searches.get("a", range(50), taken, fresh=False).take(()) == 0, "of another range it knows nothing"
    assert searches.get("b", numbers, taken, fresh=False, start=4).take(()) == 4


def test_searches_that_are_not_used_are_forgotten() -> None:
    searches = Searches()
    for number in range(3000):
        searches.get("used", NUMBERS, lambda: (), fresh=False, start=15)
        searches.get(number, NUMBERS, lambda: (), fresh=False).take(())
    used = searches.get("used", NUMBERS, lambda: (), fresh=False)
    assert used.next == 15
    assert searches.get(2999, NUMBERS, lambda: (), fresh=False).next == 11
    assert searches.get(0, NUMBERS, lambda: (), fresh=False).next == 10, "it began anew"
