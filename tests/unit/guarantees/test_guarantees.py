"""Ceilings on what a request can leak, held against channels that are written out and against integration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from obfnet.core.errors import ObfNetError, RangeError
from obfnet.guarantees.capacity import bayes_capacity_bits, best_guess, outputs_bits, repeated_bits
from obfnet.guarantees.discrete_gaussian import LEVELS, MISSED, epsilon_of_rho, noisy_bits, noisy_rho, weights
from obfnet.guarantees.gaussian import delta_of, epsilon_of, noise_for
from obfnet.guarantees.randomised_response import code_bits, code_epsilon, flip_probability
from obfnet.guarantees.statement import guarantee_of


@given(
    outputs=st.integers(1, 6),
    inputs=st.integers(1, 8),
    seed=st.integers(0, 10_000),
)
def test_no_prior_and_no_gain_function_gets_more_than_the_number_of_outputs(
    outputs: int, inputs: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    channel = random.dirichlet(np.full(outputs, 0.3), inputs)
    prior = random.dirichlet(np.full(inputs, 0.5))
    gains = random.random((4, inputs))
    before = (gains @ prior).max()
    after = sum((gains @ (prior * channel[:, output])).max() for output in range(outputs))
    assert after <= before * 2 ** bayes_capacity_bits(channel) * (1 + 1e-9)
    assert bayes_capacity_bits(channel) <= outputs_bits(outputs) + 1e-9


def test_a_deterministic_channel_has_as_many_bits_as_outputs_and_a_useless_one_none() -> None:
    channel = np.eye(5)[[0, 1, 2, 2, 4, 4, 4]]
    assert bayes_capacity_bits(channel) == pytest.approx(math.log2(4))
    assert bayes_capacity_bits(np.full((9, 3), 1 / 3)) == pytest.approx(0, abs=1e-12)


def test_a_good_guess_stays_good() -> None:
    assert best_guess(0.9, 0) == 0.9
    assert best_guess(0.9, 1) == 1
    assert best_guess(1e-6, 10) == pytest.approx(1024e-6)
    assert best_guess(0, 1_000) == 0
    assert best_guess(1e-9, 5_000) == 1


def test_asking_again_costs_nothing_only_where_the_answer_is_the_same() -> None:
    assert repeated_bits(16, 0, deterministic=True) == 0
    assert repeated_bits(16, 9, deterministic=True) == 16
    assert repeated_bits(16, 9, deterministic=False) == 144


@pytest.mark.parametrize(("flip", "bits"), [(0.1, 1), (0.25, 3), (0.4, 4)])
def test_flipped_bits_are_as_good_as_their_channel_written_out(flip: float, bits: int) -> None:
    words = list(itertools.product([0, 1], repeat=bits))
    channel = np.array(
        [
            [math.prod(flip if a != b else 1 - flip for a, b in zip(word, out, strict=True)) for out in words]
            for word in words
        ]
    )
    assert bayes_capacity_bits(channel) == pytest.approx(code_bits(flip, bits))
    ratios = channel[:, None] / channel[None]
    assert math.log(ratios.max()) == pytest.approx(code_epsilon(flip, bits))
    assert flip_probability(code_epsilon(flip, bits), bits) == pytest.approx(flip)


@pytest.mark.parametrize("requests", [1, 4])
@pytest.mark.parametrize(("epsilon", "noise"), [(0.0, 1.0), (0.5, 2.0), (3.0, 0.7)])
def test_the_gaussian_delta_is_the_integral(epsilon: float, noise: float, requests: int) -> None:
    # The likelihood ratio of n draws depends on their mean alone.
    one = stats.norm(1.0, noise / math.sqrt(requests))
    other = stats.norm(-1.0, noise / math.sqrt(requests))

    def gain(x: float) -> float:
        return max(0.0, one.pdf(x) - math.exp(epsilon) * other.pdf(x))

    wanted, _ = integrate.quad(gain, -15, 15, limit=500, points=[-1, 0, 1])
    assert delta_of(epsilon, norm=1.0, noise=noise, requests=requests) == pytest.approx(wanted, abs=1e-6)


@given(epsilon=st.floats(0.05, 20), delta=st.floats(1e-9, 0.3), requests=st.integers(1, 100))
def test_noise_for_a_promise_keeps_it_and_hardly_more(epsilon: float, delta: float, requests: int) -> None:
    noise = noise_for(epsilon, delta, norm=1.0, requests=requests)
    assert delta_of(epsilon, norm=1.0, noise=noise, requests=requests) <= delta
    assert epsilon_of(delta, norm=1.0, noise=noise, requests=requests) == pytest.approx(epsilon, rel=1e-4)
    assert delta_of(epsilon, norm=1.0, noise=noise * 0.99, requests=requests) > delta


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: outputs_bits(0),
        lambda: bayes_capacity_bits(np.full((2, 2), 0.4)),
        lambda: bayes_capacity_bits(np.zeros((0, 2))),
        lambda: best_guess(1.5, 1),
        lambda: best_guess(0.5, math.nan),
        lambda: repeated_bits(-1, 1, deterministic=True),
        lambda: flip_probability(0, 1),
        lambda: flip_probability(math.inf, 1),
        lambda: code_epsilon(0.6, 1),
        lambda: code_bits(0.1, 0),
        lambda: delta_of(1, norm=1, noise=0),
        lambda: delta_of(1, norm=1, noise=1, requests=0),
        lambda: epsilon_of(1.0, norm=1, noise=1),
        lambda: noise_for(0, 0.1, norm=1),
    ],
)
def test_what_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(ObfNetError, match=r"expected .+, got .+"):
        wrong()  # type: ignore[operator]


@pytest.mark.parametrize(("values", "levels", "scale"), [(1, 1, 0.3), (3, 4, 2.0), (2, 64, 32.0)])
def test_the_ceiling_of_noisy_numbers_is_the_sum_of_the_likeliest_over_all_outcomes(
    values: int, levels: int, scale: float
) -> None:
    outcomes = np.arange(-levels - 400, levels + 401)
    weights = np.exp(-((np.arange(-2_000, 2_001)) ** 2) / (2 * scale**2))
    inputs = np.arange(-levels, levels + 1)
    chances = np.exp(-((outcomes[:, None] - inputs[None]) ** 2) / (2 * scale**2)) / weights.sum()
    assert noisy_bits(values, levels, scale) == pytest.approx(values * np.log2(chances.max(axis=1).sum()))


def test_concentrated_privacy_is_never_smaller_than_the_exact_epsilon_of_a_gaussian() -> None:
    for values, scale, delta in ((1, 64.0, 1e-5), (8, 128.0, 1e-5), (18, 64.0, 1e-3)):
        exact = epsilon_of(delta, norm=math.sqrt(values), noise=scale / 64)
        bound = epsilon_of_rho(noisy_rho(values, 64, scale), delta)
        assert exact <= bound <= 1.5 * exact + 1


def test_what_chance_promises_says_how_it_adds_up_and_is_rounded_up() -> None:
    flips = guarantee_of(13.0701, epsilon=32.0)
    assert (flips.budget_bits, flips.epsilon) == (13.0701, 32.0)
    assert "e^32 times as likely" in flips.statement
    assert "2^13.08" in flips.statement
    noisy = guarantee_of(noisy_bits(18, 64, 64.0), noise=1.0)
    rho = noisy_rho(18, 64, 64.0)
    for requests in (1, 100):
        shown = math.ceil(100 * epsilon_of_rho(requests * rho, 1e-5)) / 100
        assert f"{shown:g}" in noisy.statement
    assert "100 of the same sample" in noisy.statement
    for promise in (flips, noisy):
        assert any("sent again and again" in gap for gap in promise.does_not_cover)
        assert promise.assumptions
        assert promise.source


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_noise_of_no_size_is_refused(scale: float) -> None:
    with pytest.raises(RangeError):
        noisy_bits(1, 1, scale)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(RangeError):
        noisy_bits(0, 1, 1.0)
    with pytest.raises(RangeError):
        epsilon_of_rho(-1.0, 1e-5)
    with pytest.raises(RangeError):
        epsilon_of_rho(1.0, 0.0)


@pytest.mark.parametrize("noise", [0.25, 0.5, 8.0])
def test_what_is_drawn_is_as_private_as_a_gaussian_from_the_number_that_differs_most(noise: float) -> None:
    # A table that ends too soon, or is too coarse in its tails, tells two numbers apart for certain.
    bits, whole = weights(noise * LEVELS)
    assert whole[0] + 2 * sum(whole[1:]) == 2**bits
    beyond = 2 * sum(whole[len(whole) - 2 * LEVELS - 1 :])
    assert beyond < 2 ** (bits - MISSED)
    for k in (0, 1, len(whole) // 2, len(whole) - 2):
        exact = (2 * k + 1) / (2 * (noise * LEVELS) ** 2)
        assert math.log(whole[k]) - math.log(whole[k + 1]) == pytest.approx(exact, abs=1e-9, rel=1e-9)


def test_an_epsilon_far_above_its_bits_is_a_chance_of_nothing_and_no_error() -> None:
    assert flip_probability(1e4, 1) == 0
