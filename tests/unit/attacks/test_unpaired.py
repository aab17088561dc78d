"""Without a pair: what a stranger undoes by matching distributions, and where there is nothing to match."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from obfnet.attacks import Observed
from obfnet.attacks.unpaired import UnpairedMatching
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from tests.unit.attacks.small_pairs import ANSWERED, LABELS, RAW, SCORED, mean_mse, mean_ssim

Samples = np.ndarray[Any, Any]
# Public samples of some people, requests of others.
PUBLIC, OTHERS = slice(0, None, 2), slice(1, None, 2)


def known(obfuscate: Callable[[Samples], Samples]) -> Observed:
    return Observed(
        raw=RAW[PUBLIC], labels=LABELS[PUBLIC], stream=obfuscate(RAW[OTHERS]), answered=LABELS[OTHERS]
    )


@cache
def guesses(obfuscate: Callable[[Samples], Samples]) -> Samples:
    knowledge = known(obfuscate)
    knowledge.forbid_overlap(SCORED)
    attacker = UnpairedMatching().fit(knowledge, seed=0, progress=Silent())
    guess = attacker(obfuscate(SCORED), ANSWERED)
    assert (guess.shape, guess.dtype) == (SCORED.shape, np.float32)
    assert 0 <= guess.min() <= guess.max() <= 1
    return guess


def label_means() -> Samples:
    raw, labels = RAW[PUBLIC], LABELS[PUBLIC]
    return np.stack([raw[labels == label].mean(axis=0) for label in ANSWERED])


def linear(outputs: int, seed: int) -> Callable[[Samples], Samples]:
    matrix = np.random.default_rng(seed).normal(size=(256, outputs)).astype(np.float32)
    return lambda samples: samples.reshape(-1, 256) @ matrix


def permuted(samples: Samples) -> Samples:
    order = np.random.default_rng(2).permutation(256)
    return samples.reshape(-1, 256)[:, order].reshape(samples.shape)


def noisy(samples: Samples) -> Samples:
    noise = np.random.default_rng(len(samples)).normal(0, 0.1, samples.shape)
    return (samples + noise).astype(np.float32)


# What was done to the samples, and at most this share of the label mean's squared error.
UNDONE: dict[str, tuple[Callable[[Samples], Samples], float]] = {
    "nothing": (lambda samples: samples, 0.02),
    "nothing, in bytes": (lambda samples: np.rint(samples * 255).astype(np.uint8), 0.02),
    "negative": (lambda samples: 1 - samples, 0.02),
    "less contrast": (lambda samples: 0.3 + 0.3 * samples, 0.02),
    "noise": (noisy, 0.2),
    "sign": (lambda samples: (samples > 0.5).astype(np.float32), 0.5),
    "pixels permuted": (permuted, 0.7),
    "pixels mixed, as vectors": (linear(256, 0), 0.7),
}


@pytest.mark.parametrize("name", UNDONE)
def test_it_undoes_what_the_distribution_gives_away(name: str) -> None:
    obfuscate, share = UNDONE[name]
    guess = guesses(obfuscate)
    assert mean_mse(guess) < share * mean_mse(label_means())
    assert mean_ssim(guess) > mean_ssim(label_means()) + 0.05


@pytest.mark.parametrize(
    "obfuscate",
    [
        lambda samples: np.full_like(samples, 0.5),
        lambda samples: np.random.default_rng(len(samples)).random(samples.shape, dtype=np.float32),
    ],
    ids=["constant", "noise alone"],
)
def test_where_nothing_is_given_away_it_answers_the_label_mean(
    obfuscate: Callable[[Samples], Samples],
) -> None:
    guess = guesses(obfuscate)
    assert mean_ssim(guess) < mean_ssim(label_means()) + 0.01
    np.testing.assert_allclose(guess, label_means(), atol=1e-5)


def test_the_same_seed_gives_the_same_guesses() -> None:
    # Past the cache.
    again = guesses.__wrapped__(permuted)
    np.testing.assert_array_equal(guesses(permuted), again)


def test_labels_that_one_side_lacks_are_no_obstacle() -> None:
    kept = LABELS[PUBLIC] != 3
    knowledge = Observed(
        raw=RAW[PUBLIC][kept],
        labels=LABELS[PUBLIC][kept],
        stream=RAW[OTHERS],
        answered=np.where(LABELS[OTHERS] == 5, 77, LABELS[OTHERS]),
    )
    guess = UnpairedMatching().fit(knowledge, seed=0, progress=Silent())(SCORED, ANSWERED)
    assert mean_mse(guess) < 0.05 * mean_mse(label_means())


def test_without_labels_in_common_it_still_answers() -> None:
    knowledge = Observed(
        raw=RAW[PUBLIC], labels=LABELS[PUBLIC], stream=permuted(RAW[OTHERS]), answered=LABELS[OTHERS] + 20
    )
    guess = UnpairedMatching().fit(knowledge, seed=0, progress=Silent())(permuted(SCORED), ANSWERED + 20)
    assert np.isfinite(guess).all()


def test_vectors_are_samples_too() -> None:
    flat = RAW.reshape(len(RAW), -1)
    knowledge = Observed(
        raw=flat[PUBLIC], labels=LABELS[PUBLIC], stream=flat[OTHERS], answered=LABELS[OTHERS]
    )
    guess = UnpairedMatching().fit(knowledge, seed=0, progress=Silent())(flat[:5], LABELS[:5])
    np.testing.assert_allclose(guess, flat[:5], atol=0.2)


@pytest.mark.parametrize(
    ("knowledge", "message"),
    [
        (Observed(raw=RAW, labels=LABELS), "requests of others and their answers, got none"),
        (
            Observed(raw=RAW, labels=LABELS, stream=RAW[:19], answered=LABELS[:19]),
            "at least 20 samples on either side, got 1257 public, 19 received",
        ),
    ],
    ids=["no stream", "a short stream"],
)
def test_too_little_is_refused(knowledge: Observed, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        UnpairedMatching().fit(knowledge, seed=0, progress=Silent())
