"""The coins of a randomised code: how often they fall, and the proof that a graph uses them as it must."""

import math

import numpy as np
import pytest
from scipy import stats

from obfnet.bundle.cut import check_budget
from obfnet.bundle.exact import check_exact
from obfnet.bundle.flips import draw_flips
from obfnet.core.errors import BundleError, RangeError
from tests.malformed import graphs

BITS = 6
# Each bit is inverted one time in four.
EPSILON, CEILING = BITS * math.log(3), BITS * math.log2(1.5)


def test_each_bit_is_inverted_as_often_as_the_epsilon_asks_for_and_by_itself() -> None:
    flips = draw_flips(40_000, BITS, EPSILON)
    assert (flips.shape, flips.dtype) == ((40_000, BITS), np.bool_)
    for column in flips.T:
        # One test in a million fails by chance.
        assert stats.binomtest(int(column.sum()), 40_000, 0.25).pvalue > 1e-6
    together = np.corrcoef(flips.T) - np.eye(BITS)
    assert np.abs(together).max() < 6 / math.sqrt(40_000)


def test_no_two_draws_are_the_same() -> None:
    assert not np.array_equal(draw_flips(20, 32, 1.0), draw_flips(20, 32, 1.0))


def test_the_least_epsilon_is_a_coin_and_a_large_one_hardly_ever_flips() -> None:
    assert draw_flips(20_000, 1, 1e-9).mean() == pytest.approx(0.5, abs=0.02)
    assert draw_flips(20_000, 1, 40.0).sum() <= 1


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_epsilon_is_refused(epsilon: float) -> None:
    with pytest.raises(RangeError):
        draw_flips(1, 4, epsilon)


def test_a_code_of_which_every_bit_meets_its_own_flip_proves_its_budget() -> None:
    data = graphs.flipped_code()
    cut = check_budget(data, graphs.SPEC, CEILING + 1e-9, EPSILON)
    assert cut.bits == BITS
    check_exact(data, cut)


def test_the_ceiling_of_randomised_response_is_proved_to_the_last_digit() -> None:
    with pytest.raises(BundleError, match=r"at most the 3\.5 bits that the manifest claims"):
        check_budget(graphs.flipped_code(), graphs.SPEC, 3.5, EPSILON)
    check_budget(graphs.flipped_code(), graphs.SPEC, CEILING, EPSILON)
