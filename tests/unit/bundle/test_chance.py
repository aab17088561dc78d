"""What a device leaves to chance: how it falls, and the proof that a graph uses it as it must."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from obfnet.bundle.chance import Flips, Leave, Noise, chance_of
from obfnet.bundle.chance_cut import check_budget
from obfnet.bundle.exact import check_exact
from obfnet.core.errors import BundleError, RangeError
from obfnet.guarantees.discrete_gaussian import LEVELS, noisy_bits, weights
from tests.malformed import graphs

BITS = 6
# Each bit is inverted one time in four.
EPSILON, CEILING = BITS * math.log(3), BITS * math.log2(1.5)


def test_each_bit_is_inverted_as_often_as_the_epsilon_asks_for_and_by_itself() -> None:
    flips = Flips(EPSILON).draw(40_000, BITS)
    assert (flips.shape, flips.dtype) == ((40_000, BITS), np.bool_)
    for column in flips.T:
        # One test in a million fails by chance.
        assert stats.binomtest(int(column.sum()), 40_000, 0.25).pvalue > 1e-6
    together = np.corrcoef(flips.T) - np.eye(BITS)
    assert np.abs(together).max() < 6 / math.sqrt(40_000)


def test_no_two_draws_are_the_same() -> None:
    assert not np.array_equal(Flips(1.0).draw(20, 32), Flips(1.0).draw(20, 32))


def test_the_least_epsilon_is_a_coin_and_a_large_one_hardly_ever_flips() -> None:
    assert Flips(1e-9).draw(20_000, 1).mean() == pytest.approx(0.5, abs=0.02)
    assert Flips(40.0).draw(20_000, 1).sum() <= 1


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_epsilon_is_refused(epsilon: float) -> None:
    with pytest.raises(RangeError):
        Flips(epsilon).draw(1, 4)


def test_a_code_of_which_every_bit_meets_its_own_flip_proves_its_budget() -> None:
    data = graphs.flipped_code()
    cut = check_budget(data, graphs.SPEC, CEILING + 1e-9, Flips(EPSILON))
    assert cut.bits == BITS
    check_exact(data, cut)


def test_the_ceiling_of_randomised_response_is_proved_to_the_last_digit() -> None:
    with pytest.raises(BundleError, match=r"at most the 3\.5 bits that the manifest claims"):
        check_budget(graphs.flipped_code(), graphs.SPEC, 3.5, Flips(EPSILON))
    check_budget(graphs.flipped_code(), graphs.SPEC, CEILING, Flips(EPSILON))


@pytest.mark.parametrize("scale", [0.25, 0.5, 3.0])
def test_noise_is_a_discrete_gaussian(scale: float) -> None:
    drawn = Noise(scale).draw(20_000, 3)
    assert (drawn.shape, drawn.dtype) == ((20_000, 3), np.float32)
    assert np.array_equal(drawn, drawn.round())
    bits, whole = weights(scale * LEVELS)
    expected = np.array([float(Fraction(weight, 2**bits)) for weight in whole])
    numbers = np.arange(1 - len(expected), len(expected))
    expected = np.concatenate([expected[:0:-1], expected]) * drawn.size
    # Numbers that are seldom drawn are taken together, as the test asks for.
    often = expected > 10
    seen = np.array([(drawn == number).sum() for number in numbers[often]])
    rest = drawn.size - expected[often].sum()
    found = stats.chisquare([*seen, drawn.size - seen.sum()], [*expected[often], rest])
    # One test in a million fails by chance.
    assert found.pvalue > 1e-6
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 6 / math.sqrt(20_000)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_noise_is_refused(scale: float) -> None:
    with pytest.raises(RangeError):
        Noise(scale).draw(1, 4)


def test_numbers_of_which_each_meets_its_own_noise_prove_their_budget() -> None:
    ceiling = noisy_bits(BITS, LEVELS, 0.5 * LEVELS)
    cut = check_budget(graphs.noisy_code(), graphs.SPEC, ceiling, Noise(0.5))
    assert cut.bits == pytest.approx(ceiling)
    with pytest.raises(BundleError, match="at most the 8 bits that the manifest claims"):
        check_budget(graphs.noisy_code(), graphs.SPEC, 8.0, Noise(0.5))


def test_a_fair_graph_of_two_levels_keeps_to_both() -> None:
    data = graphs.graded_code()
    assert check_budget(data, graphs.SPEC, 6.0, Leave(3.0, 0.1)).bits == 6.0
    with pytest.raises(BundleError, match="without leave"):
        check_budget(data, graphs.SPEC, 6.0, Leave(2.9, 0.1))
    assert chance_of(epsilon=None, noise=None, poor_bits=3.0, rich_share=0.1) == Leave(3.0, 0.1)
    # Whoever looks on has to see the most that may be sent.
    assert Leave(3.0, 0.1).draw(2, 1).all()
