"""Normalised leakage on made scores and on the bundled digits: what must be 0, 1, seen, or refused."""

from typing import Any

import numpy as np
import pytest

from obfnet.attacks import WhiteBox
from obfnet.attacks.class_mean import ClassMean
from obfnet.auditing.normalised import NormalisedLeakage, normalised_leakage, stronger_floor
from obfnet.core.errors import RangeError, ShapeError, UsageError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.metrics.similarity import ssim

Floats = np.ndarray[Any, Any]


def made(seeds: int = 3, count: int = 500, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Scores of label-only guesses twice (two fits of the same attack), and of raw data."""
    random = np.random.default_rng(seed)
    sample = random.normal(0, 0.08, (1, count))
    floors = (0.35 + sample + random.normal(0, 0.02, (seeds, count)) for _ in range(2))
    raw = 0.88 + 0.3 * sample + random.normal(0, 0.02, (seeds, count))
    first, second = floors
    return first, second, raw


def measured(*scores: Floats, seed: int = 0, resamples: int = 400) -> NormalisedLeakage:
    return normalised_leakage(*scores, seed=seed, resamples=resamples)


def test_it_is_the_formula_written_out() -> None:
    random = np.random.default_rng(0)
    floor, raw = random.uniform(0, 0.4, (2, 50)), random.uniform(0.3, 1, (2, 50))
    attacked = random.uniform(0, 1, (2, 50))
    leak = measured(attacked, floor, raw)
    s, f, r = ([sum(column) / 2 for column in zip(*scores, strict=True)] for scores in (attacked, floor, raw))
    gap = sum(r) / 50 - sum(f) / 50
    each = [(s[i] - f[i]) / max(r[i] - f[i], gap / 2) for i in range(50)]
    assert leak.mean.value == pytest.approx((sum(s) - sum(f)) / (sum(r) - sum(f)))
    np.testing.assert_allclose(leak.per_sample, each)
    assert leak.p95.value == pytest.approx(np.percentile(each, 95))
    assert leak.share_over_half.value == pytest.approx(len([n for n in each if n > 0.5]) / 50)
    assert (leak.attacked.value, leak.floor.value, leak.raw.value, leak.gap.value) == pytest.approx(
        (sum(s) / 50, sum(f) / 50, sum(r) / 50, gap)
    )


def test_every_figure_lies_in_its_interval() -> None:
    again, floor, raw = made()
    leak = measured((again + raw) / 2, floor, raw)
    for estimate in (leak.mean, leak.p95, leak.attacked, leak.floor, leak.raw, leak.gap):
        assert estimate.low < estimate.value < estimate.high
    assert leak.mean.covers(0.5)


def test_a_few_samples_given_away_are_seen() -> None:
    again, floor, raw = made(count=1000)
    given_away = np.arange(1000) % 10 == 0
    leak = measured(np.where(given_away, raw, again), floor, raw)
    assert leak.mean.value == pytest.approx(0.1, abs=0.02)
    assert leak.share_over_half.value == pytest.approx(0.1, abs=0.01)
    assert leak.share_over_half.covers(0.1)
    assert leak.p95.value == pytest.approx(1, abs=0.05)
    assert (leak.per_sample[given_away] > 0.5).all()


def test_fewer_than_a_twentieth_given_away_show_in_the_share_alone() -> None:
    again, floor, raw = made(count=1000)
    leak = measured(np.where(np.arange(1000) % 50 == 0, raw, again), floor, raw)
    assert leak.p95.value < 0.3
    assert leak.share_over_half.covers(0.02)
    assert leak.share_over_half.low > 0


def test_label_only_scores_cover_zero_in_nearly_every_run() -> None:
    runs = [measured(*made(count=300, seed=seed), seed=seed, resamples=300) for seed in range(20)]
    assert sum(leak.mean.covers(0) for leak in runs) >= 18
    assert all(abs(leak.mean.value) <= 0.05 for leak in runs)


def test_noise_copies_of_raw_scores_are_not_above_one_by_more_than_their_interval() -> None:
    random = np.random.default_rng(0)
    runs = []
    for seed in range(20):
        _, floor, raw = made(count=300, seed=seed)
        runs.append(measured(raw + random.normal(0, 0.05, raw.shape), floor, raw, seed=seed, resamples=300))
    assert sum(leak.mean.low <= 1 for leak in runs) >= 18
    assert max(leak.mean.value for leak in runs) < 1.05


def test_it_falls_as_noise_is_added_to_what_the_backend_receives() -> None:
    digits = load_case("digits")
    raw, labels = digits.test.samples[:], digits.test.labels
    known = WhiteBox(raw=digits.train.samples, labels=digits.train.labels, received=digits.train.samples)
    floor = ssim(raw, ClassMean().fit(known, seed=0, progress=Silent())(raw, labels))
    random = np.random.default_rng(0)
    noise = random.normal(size=raw.shape)
    leaks = []
    for spread in (0.0, 0.05, 0.1, 0.2, 0.3):
        leaks.append(measured(ssim(raw, np.clip(raw + spread * noise, 0, 1)), floor, ssim(raw, raw)))
    figures = [leak.mean.value for leak in leaks]
    assert figures[0] == 1
    assert figures == sorted(figures, reverse=True)
    assert all(leak.mean.low <= 1 for leak in leaks)


def test_seeds_that_disagree_widen_the_interval() -> None:
    again, floor, raw = made()
    agreed = (again + raw) / 2
    shifts = np.array([[-0.1], [0.0], [0.1]])
    narrow, wide = measured(agreed, floor, raw), measured(agreed + shifts, floor, raw)
    assert wide.mean.value == pytest.approx(narrow.mean.value)
    assert wide.mean.high - wide.mean.low > 3 * (narrow.mean.high - narrow.mean.low)


def test_a_floor_of_one_seed_serves_all() -> None:
    again, floor, raw = made()
    one = measured(again, floor[0], raw)
    tiled = measured(again, np.tile(floor[0], (3, 1)), raw)
    assert one.mean == tiled.mean
    assert measured(again[0], floor[0], raw[0]).mean is not None


def test_an_attack_that_does_nothing_with_raw_samples_has_no_figure() -> None:
    again, floor, _ = made()
    leak = measured(again, floor, floor + np.random.default_rng(5).normal(0, 0.02, floor.shape))
    assert not leak.able
    assert (leak.mean, leak.p95, leak.share_over_half, leak.per_sample) == (None, None, None, None)
    assert leak.gap.low <= 0
    assert leak.attacked.value == pytest.approx(again.mean())
    assert not measured(again, floor, floor).able
    assert not measured(again, floor, floor - 0.1).able


def test_a_gap_that_is_barely_there_has_finite_figures() -> None:
    random = np.random.default_rng(0)
    floor = random.normal(0, 1, 400)
    for shift in np.linspace(0.05, 0.2, 12):
        leak = measured(floor, np.zeros(400), random.normal(shift, 1, 400))
        if leak.able:
            assert np.isfinite([leak.mean.low, leak.mean.high, leak.p95.low, leak.p95.high]).all()


def test_a_sample_that_raw_data_do_not_help_with_gets_no_enormous_figure() -> None:
    _, floor, raw = made(seeds=1)
    raw[:, 0] = floor[:, 0] + 1e-9
    attacked = floor.copy()
    attacked[:, 0] += 0.1
    leak = measured(attacked, floor, raw)
    assert leak.per_sample[0] == pytest.approx(0.2 / leak.gap.value)


def test_the_stronger_floor_is_the_one_with_the_higher_mean() -> None:
    fitted, class_mean = np.full((3, 20), 0.3), np.full(20, 0.35)
    assert stronger_floor(fitted, class_mean) is class_mean
    assert stronger_floor(fitted + 0.1, class_mean).shape == (3, 20)
    assert stronger_floor(fitted) is fitted


def test_what_cannot_be_compared_is_refused() -> None:
    again, floor, raw = made()
    for scores in [(again, floor[:, 1:], raw), (again, floor[:2], raw), (again, floor, raw[np.newaxis])]:
        with pytest.raises(ShapeError, match="same samples and seeds"):
            measured(*scores)
    with pytest.raises(ShapeError, match="at least 20 scored samples, got 19"):
        measured(again[:, :19], floor[:, :19], raw[:, :19])
    with pytest.raises(RangeError, match="finite scores"):
        measured(again, floor, np.where(raw > 0.9, np.inf, raw))
    with pytest.raises(UsageError, match="resample"):
        measured(again, floor, raw, resamples=0)
