"""Retrieval with public samples only: through any brightness and contrast, and not through a shuffling."""

import numpy as np
import pytest

from obfnet.attacks import Observed
from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.retrieval import Retrieval
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from tests.unit.attacks.small_pairs import (
    ANSWERED,
    LABELS,
    RAW,
    SCORED,
    Samples,
    constant,
    guesses,
    mean_mse,
    mean_ssim,
)

ORDER = np.random.default_rng(0).permutation(256)
WORTH = np.random.default_rng(1).uniform(0.2, 1, (1, 1, 16, 16)).astype(np.float32)


def shuffled(samples: Samples) -> Samples:
    return samples.reshape(len(samples), -1)[:, ORDER].reshape(samples.shape)


def watched(stream: Samples, answered: Samples | None = ANSWERED) -> Observed:
    """Nothing but what T0 has: the type has no place for pairs."""
    return Observed(raw=RAW, labels=LABELS, stream=stream, answered=answered)


@pytest.mark.parametrize(
    "obfuscate",
    [
        lambda some: some,
        lambda some: 1 - some,
        lambda some: 0.4 + 0.1 * some,
        lambda some: some**0.3,
        lambda some: some * WORTH,
        lambda some: 1 - some * WORTH,
    ],
    ids=["identity", "inverse", "pale", "gamma", "each pixel dimmed", "each pixel dimmed, inverse"],
)
def test_what_still_looks_like_its_raw_form_is_found_without_a_pair(obfuscate: object) -> None:
    stream = obfuscate(SCORED)  # type: ignore[operator]
    guess = Retrieval().fit(watched(stream), seed=0, progress=Silent())(stream, ANSWERED)
    floor = guesses(ClassMean(), constant)
    assert mean_ssim(guess) > mean_ssim(floor) + 0.1
    assert mean_mse(guess) < 0.75 * mean_mse(floor)


@pytest.mark.parametrize("obfuscate", [constant, shuffled], ids=["constant", "shuffled"])
def test_where_no_view_fits_it_is_the_class_mean(obfuscate: object) -> None:
    stream = obfuscate(SCORED)  # type: ignore[operator]
    guess = Retrieval().fit(watched(stream), seed=0, progress=Silent())(stream, ANSWERED)
    np.testing.assert_allclose(guess, guesses(ClassMean(), constant), atol=1e-6)


def test_a_guess_is_a_public_sample_of_the_answered_label() -> None:
    guess = Retrieval().fit(watched(SCORED), seed=0, progress=Silent())(SCORED[:30], ANSWERED[:30])
    for each, label in zip(guess, ANSWERED[:30], strict=True):
        assert any(np.array_equal(each, public) for public in RAW[label == LABELS])


def test_without_a_stream_or_its_answers_it_still_tries() -> None:
    for knowledge in (Observed(raw=RAW, labels=LABELS), watched(SCORED, None)):
        guess = Retrieval().fit(knowledge, seed=0, progress=Silent())(SCORED, ANSWERED)
        assert mean_ssim(guess) > mean_ssim(guesses(ClassMean(), constant)) + 0.1


def test_another_shape_is_refused_in_a_line() -> None:
    vectors = SCORED.reshape(len(SCORED), -1)
    message = r"received samples of the raw shape \(1, 16, 16\), got \(256,\); use an attack that learns"
    with pytest.raises(AttackError, match=message):
        Retrieval().fit(watched(vectors), seed=0, progress=Silent())
    fitted = Retrieval().fit(Observed(raw=RAW, labels=LABELS), seed=0, progress=Silent())
    with pytest.raises(AttackError, match=message):
        fitted(vectors, ANSWERED)
