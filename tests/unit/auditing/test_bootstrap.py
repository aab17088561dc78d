"""Intervals against SciPy's bootstrap, a slow double loop, and how often they hold the truth."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

from obfnet.auditing.bootstrap import Estimate, estimated, mean_estimate, resampled
from obfnet.core.errors import RangeError, ShapeError, UsageError

Floats = np.ndarray[Any, Any]


def scores(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).gamma(2.0, size=shape)


def means(some: Floats) -> Floats:
    return some.mean(axis=(1, 2))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_a_mean_is_scipys(level: float) -> None:
    values = scores(57)
    ours = mean_estimate(values, seed=4, resamples=2000, level=level)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=2000,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(4),
    )
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)


def test_the_interval_of_paired_percentiles_is_scipys() -> None:
    first, second = scores(80), scores(80, seed=1)
    second += first

    def ratio(x: Floats, y: Floats) -> Floats:
        return np.quantile(y, 0.9, axis=-1)[..., 0] / x.mean(axis=-1)[..., 0]

    drawn = resampled([first, second], ratio, seed=0, resamples=4000)
    theirs = stats.bootstrap(
        (first, second),
        lambda x, y, axis=-1: np.quantile(y, 0.9, axis=axis) / x.mean(axis=axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        random_state=np.random.default_rng(1),
    )
    ours = estimated(1.0, drawn)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), rel=0.03)
    assert drawn.std() == pytest.approx(theirs.standard_error, rel=0.05)


def test_two_levels_are_those_of_a_slow_double_loop() -> None:
    # Scores that depend on seed and sample alike, so that it shows whether samples are drawn jointly.
    values = scores(3, 1) + scores(1, 30, seed=1) + 0.1 * scores(3, 30, seed=2)
    drawn = resampled([values], means, seed=0, resamples=5000)
    random = np.random.default_rng(9)
    slow = []
    for _ in range(5000):
        seeds = [random.integers(3) for _ in range(3)]
        samples = [random.integers(30) for _ in range(30)]
        slow.append(np.mean([[values[seed, sample] for sample in samples] for seed in seeds]))
    points = [0.025, 0.25, 0.5, 0.75, 0.975]
    np.testing.assert_allclose(np.quantile(drawn, points), np.quantile(slow, points), atol=0.06)
    assert drawn.std() == pytest.approx(np.std(slow), rel=0.06)


def test_samples_are_drawn_once_for_all_seeds() -> None:
    # The seeds agree, so that ten of them say no more than one.
    one = scores(40)
    alike = mean_estimate(np.tile(one, (10, 1)), seed=0)
    alone = mean_estimate(one, seed=0)
    assert alike.high - alike.low == pytest.approx(alone.high - alone.low, rel=0.15)


def test_arrays_are_drawn_from_together() -> None:
    values = scores(2, 50)
    drawn = resampled([values, 2 * values], lambda x, y: means(y) / means(x), seed=0, resamples=50)
    np.testing.assert_allclose(drawn, 2)


def test_several_figures_at_once_are_those_of_each_alone() -> None:
    values = scores(2, 50)
    both = resampled(
        [values], lambda x: np.stack([means(x), x.max(axis=(1, 2))], axis=1), seed=3, resamples=40
    )
    assert both.shape == (40, 2)
    np.testing.assert_array_equal(both[:, 0], resampled([values], means, seed=3, resamples=40))


def test_it_is_the_same_by_seed_and_another_by_another() -> None:
    values = scores(3, 40)
    first, again, other = (resampled([values], means, seed=seed, resamples=30) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_more_resamples_begin_with_the_same_ones_and_need_no_more_memory() -> None:
    values = scores(2, 20_000)
    few = resampled([values], means, seed=0, resamples=5)
    tracemalloc.start()
    many = resampled([values], means, seed=0, resamples=300)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(many[:5], few)
    assert peak_bytes < 64 * 2**20


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    held = [
        mean_estimate(random.exponential(size=100), seed=run, resamples=300, level=0.9).covers(1.0)
        for run in range(300)
    ]
    assert 0.84 <= np.mean(held) <= 0.95


def test_a_constant_is_certain() -> None:
    assert mean_estimate(np.full((3, 20), 0.25), seed=0) == Estimate(value=0.25, low=0.25, high=0.25)


def test_what_cannot_be_resampled_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"one shape.*\(1, 20\), \(1, 21\)"):
        resampled([scores(20), scores(21)], means, seed=0)
    for empty in (np.empty(0), np.empty((0, 5)), scores(2, 3, 4)):
        with pytest.raises(ShapeError, match=r"\(S, N\) or \(N,\)"):
            mean_estimate(empty, seed=0)
    with pytest.raises(ShapeError, match="got none"):
        resampled([], means, seed=0)
    for bad in (np.nan, np.inf):
        with pytest.raises(RangeError, match="finite scores"):
            mean_estimate(np.array([1.0, bad]), seed=0)
    with pytest.raises(UsageError, match="at least 1 resample"):
        mean_estimate(scores(20), seed=0, resamples=0)
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(UsageError, match="level between 0 and 1"):
            mean_estimate(scores(20), seed=0, level=level)
