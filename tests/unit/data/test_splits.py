"""Held-out parts: stratified, disjoint, the same every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfnet.core.errors import UsageError
from obfnet.data.splits import hold_out


@given(labels=st.lists(st.integers(0, 5), min_size=2, max_size=120), seed=st.integers(0, 9), data=st.data())
def test_each_class_keeps_its_share(labels: list[int], seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(labels) - 1))
    array = np.array(labels, dtype=np.int64)
    kept, held = hold_out(array, count, seed=seed)
    assert len(held) == count
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    for label in np.unique(array):
        exact = (array == label).sum() * count / len(labels)
        assert abs((array[held] == label).sum() - exact) < 1
    np.testing.assert_array_equal(held, hold_out(array, count, seed=seed)[1])


def test_the_seed_decides_and_its_stream_is_pinned() -> None:
    labels = np.arange(100) % 2
    assert hold_out(labels, 4, seed=7)[1].tolist() == [26, 30, 45, 81]
    assert hold_out(labels, 4, seed=8)[1].tolist() != [26, 30, 45, 81]


@pytest.mark.parametrize("count", [0, -1, 10, 11])
def test_a_size_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="to hold out"):
        hold_out(np.arange(10), count, seed=0)
