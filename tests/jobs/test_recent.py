"""What was worked out lately is kept, and no more than that."""

from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.jobs.recent import Recent


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=60))
def test_it_keeps_what_was_asked_for_last(steps: list[tuple[bool, int]]) -> None:
    """After any use it holds the keys that were touched last, each with its own value, and no others."""
    recent: Recent[int, str] = Recent(most=3)
    order: list[int] = []
    for keep, key in steps:
        if keep:
            recent.keep(key, str(key))
            order = [one for one in order if one != key] + [key]
        elif recent.get(key) is not None:
            order = [one for one in order if one != key] + [key]
        order = order[-3:]
        assert [key for key in range(7) if key in order] == [key for key in range(7) if key in recent._values]
    assert all(recent.get(key) == str(key) for key in order)
