"""The interval of a share, as SciPy has it."""

import pytest
from scipy.stats import binomtest

from obfnet.core.interval import wilson


@pytest.mark.parametrize(("right", "count"), [(0, 10), (3, 10), (10, 10), (4_900, 5_000)])
def test_the_interval_of_a_share_is_statistics(right: int, count: int) -> None:
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert wilson(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-7)
