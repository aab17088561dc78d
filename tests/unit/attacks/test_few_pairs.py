"""Few pairs: more of them are worth more, one undoes what is local, and none is worth more than the mean."""

from typing import Any

import numpy as np
import pytest

from obfnet.attacks import Insider
from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.few_pairs import FewPairs
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from obfnet.data.rows import Rows, mapped
from tests.unit.attacks.small_pairs import (
    ANSWERED,
    LABELS,
    RAW,
    SCORED,
    Samples,
    code,
    constant,
    guesses,
    mean_ssim,
    unchanged,
)

FLOOR_GUESS = guesses(ClassMean(), unchanged)
FLOOR = mean_ssim(FLOOR_GUESS)
SECRET = np.random.default_rng(0).normal(size=(256, 60)) / 16


def scattered(samples: Samples) -> Samples:
    """A secret projection with a bend, received as a vector."""
    return (1 / (1 + np.exp(-3 * samples.reshape(len(samples), -1) @ SECRET))).astype(np.float32)


def attacked(
    obfuscate: Any, pairs: int, *, seed: int = 0, stream: bool = False, raw: Any = RAW, labels: Any = LABELS
) -> Samples:
    asked = obfuscate(SCORED)
    known = Insider(
        received=mapped(raw, obfuscate),
        raw=raw,
        labels=labels,
        stream=asked if stream else None,
        answered=ANSWERED if stream else None,
    )
    guess = np.asarray(FewPairs(pairs=pairs).fit(known, seed=seed, progress=Silent())(asked, ANSWERED))
    assert guess.shape == SCORED.shape
    assert guess.dtype == np.float32
    assert 0 <= guess.min() <= guess.max() <= 1
    return guess


@pytest.mark.parametrize("pairs", [1, 3, 100])
@pytest.mark.parametrize("obfuscate", [unchanged, lambda raw: 0.9 - 0.8 * raw])
def test_one_pair_undoes_what_is_done_value_by_value(obfuscate: Any, pairs: int) -> None:
    assert mean_ssim(attacked(obfuscate, pairs)) > 0.98


@pytest.mark.parametrize("stream", [False, True])
def test_more_pairs_are_worth_more(stream: bool) -> None:
    curve = [mean_ssim(attacked(scattered, pairs, stream=stream)) for pairs in (1, 10, 100, 1_000)]
    assert abs(curve[0] - FLOOR) < 0.005
    assert curve[0] < curve[1] + 0.005
    assert curve[1] + 0.05 < curve[2]
    assert curve[2] + 0.02 < curve[3]
    assert curve[3] > FLOOR + 0.2


@pytest.mark.parametrize("pairs", [1, 2, 5, 10, 30, 100, 1_000])
def test_on_a_constant_it_answers_with_the_class_mean(pairs: int) -> None:
    for seed in range(2):
        assert abs(mean_ssim(attacked(constant, pairs, seed=seed)) - FLOOR) < 0.01


@pytest.mark.parametrize("pairs", [1, 3, 10, 30, 300])
def test_what_is_received_of_the_label_alone_gains_nothing(pairs: int) -> None:
    random = np.random.default_rng(0)
    index = {sample.tobytes(): int(label) for sample, label in zip(RAW, LABELS, strict=True)}
    index |= {sample.tobytes(): int(label) for sample, label in zip(SCORED, ANSWERED, strict=True)}

    def label_and_noise(samples: Samples) -> Samples:
        labels = np.array([index[sample.tobytes()] for sample in samples])
        noise = random.normal(0, 0.2, samples.shape).astype(np.float32)
        return (labels[:, None, None, None] / 10 + noise).clip(0, 1).astype(np.float32)

    for seed in range(3):
        assert abs(mean_ssim(attacked(label_and_noise, pairs, seed=seed)) - FLOOR) < 0.01


def test_only_so_many_pairs_are_looked_at_and_fewer_are_part_of_more() -> None:
    looked: list[set[int]] = []

    def read(index: Any) -> Samples:
        looked[-1].update(np.asarray(index).tolist())
        return RAW[index]

    received = Rows(read, RAW.shape, RAW.dtype)
    for pairs in (5, 50):
        looked.append(set())
        known = Insider(received=received, raw=RAW, labels=LABELS)
        FewPairs(pairs=pairs).fit(known, seed=3, progress=Silent())
    assert [len(rows) for rows in looked] == [5, 50]
    assert looked[0] < looked[1]


def test_the_seed_decides_which_pairs_are_known() -> None:
    a, b, c = (attacked(scattered, 40, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_more_pairs_than_there_are_means_all_and_raw_samples_may_be_vectors() -> None:
    known = Insider(received=code(RAW[:60]), raw=RAW[:60].reshape(60, -1), labels=LABELS[:60])
    guess = FewPairs().fit(known, seed=0, progress=Silent())(code(SCORED), ANSWERED)
    assert guess.shape == (len(SCORED), 256)


def test_labels_that_the_attacker_has_no_sample_of_get_the_mean_of_all() -> None:
    known = Insider(received=constant(RAW), raw=RAW, labels=LABELS)
    fitted = FewPairs(pairs=10).fit(known, seed=0, progress=Silent())
    guess = fitted(constant(SCORED[:1]), np.array([77]))
    np.testing.assert_allclose(guess[0], RAW.mean(axis=0), atol=0.02)


def test_no_pair_is_refused() -> None:
    with pytest.raises(AttackError, match="at least 1 pair, got 0"):
        FewPairs(pairs=0)
