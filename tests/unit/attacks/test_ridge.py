"""Ridge regression against scikit-learn's, and against what it must and must not undo."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from obfnet.attacks import WhiteBox
from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.ridge import Ridge
from obfnet.core.progress import Silent
from obfnet.data.rows import Rows
from tests.unit.attacks.small_pairs import (
    ANSWERED,
    LABELS,
    RAW,
    SCORED,
    Samples,
    code,
    constant,
    guesses,
    known,
    mean_mse,
    mean_ssim,
)

SECRET = np.random.default_rng(0).normal(size=(256, 256)) / 16


def scrambled(samples: Samples) -> Samples:
    mixed = samples.reshape(len(samples), -1) @ SECRET
    return (0.5 + mixed.reshape(samples.shape) / 8).astype(np.float32)


def test_on_raw_samples_it_is_exact() -> None:
    assert mean_ssim(guesses(Ridge(), lambda some: some)) > 0.999


def test_a_secret_linear_scrambling_is_undone() -> None:
    assert mean_ssim(guesses(Ridge(), scrambled)) > 0.99


def test_on_a_constant_it_is_the_class_mean() -> None:
    np.testing.assert_allclose(guesses(Ridge(), constant), guesses(ClassMean(), constant), atol=1e-6)


def test_where_the_label_says_nothing_it_is_no_worse_than_least_squares() -> None:
    random = np.random.default_rng(1)
    labels = np.zeros(3_000, np.int64)
    received = random.uniform(size=(3_000, 20)).astype(np.float32)
    raw = (received @ random.uniform(size=(20, 12)) / 20 + random.normal(0, 0.02, (3_000, 12))).clip(0, 1)
    raw = raw.astype(np.float32)
    fitted = Ridge().fit(
        WhiteBox(received=received[:2_000], raw=raw[:2_000], labels=labels[:2_000]), seed=0, progress=Silent()
    )
    guess = fitted(received[2_000:], labels[2_000:])
    oracle = LinearRegression().fit(received[:2_000], raw[:2_000]).predict(received[2_000:]).clip(0, 1)
    assert guess.shape == (1_000, 12)
    assert np.mean((guess - raw[2_000:]) ** 2) < 1.01 * np.mean((oracle - raw[2_000:]) ** 2)


def test_noise_is_shrunk_as_much_as_a_wiener_filter_would() -> None:
    """Independent Gaussian values, each with its own spread: the best linear answer has a closed form."""
    random = np.random.default_rng(2)
    spread, noise, count = np.linspace(0.01, 0.1, 30), 0.05, 6_000
    raw = (0.5 + random.normal(0, spread, (count + 2_000, 30))).clip(0, 1)
    received = raw + random.normal(0, noise, raw.shape)
    labels = np.zeros(len(raw), np.int64)
    known_pairs = WhiteBox(
        received=received[:count].astype(np.float32),
        raw=raw[:count].astype(np.float32),
        labels=labels[:count],
    )
    guess = Ridge().fit(known_pairs, seed=0, progress=Silent())(
        received[count:].astype(np.float32), labels[count:]
    )
    wiener = 0.5 + (received[count:] - 0.5) * spread**2 / (spread**2 + noise**2)
    assert np.mean((guess - raw[count:]) ** 2) < 1.05 * np.mean((wiener - raw[count:]) ** 2)


def test_of_a_code_it_makes_more_than_the_class_mean() -> None:
    assert mean_mse(guesses(Ridge(), code)) < mean_mse(guesses(ClassMean(), code))


def test_wide_samples_go_through_components() -> None:
    """Each pixel sixteen times, 4,096 values received: as good as the pixels themselves."""

    def widened(samples: Samples) -> Samples:
        return np.tile(samples, (1, 16, 1, 1))

    assert mean_ssim(guesses(Ridge(), widened, count=800)) > 0.98


def test_rows_from_a_file_are_taken_as_an_array_is_and_bytes_as_their_values() -> None:
    def lazy(samples: Samples) -> Rows:
        return Rows(lambda index: samples[index], samples.shape, samples.dtype)

    knowledge = WhiteBox(received=lazy(scrambled(RAW)), raw=lazy(RAW), labels=LABELS)
    guess = Ridge().fit(knowledge, seed=0, progress=Silent())(scrambled(SCORED), ANSWERED)
    np.testing.assert_array_equal(guess, guesses(Ridge(), scrambled))

    def eighths(samples: Samples) -> Samples:
        return (samples * 255).round().astype(np.uint8)

    as_bytes = guesses(Ridge(), eighths)
    as_floats = guesses(Ridge(), lambda some: eighths(some).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(as_bytes, as_floats)


@pytest.mark.parametrize("count", [1, 2, 7, 25])
def test_few_pairs_are_enough_to_try(count: int) -> None:
    fitted = Ridge(effort=0.01).fit(known(RAW, count=count), seed=0, progress=Silent())
    guess = fitted(SCORED[:3], ANSWERED[:3])
    assert (guess.shape, guess.dtype) == ((3, 1, 16, 16), np.float32)
    assert 0 <= guess.min() <= guess.max() <= 1


def test_a_label_that_nobody_knew_gets_the_mean_of_all() -> None:
    fitted = Ridge().fit(known(constant(RAW)), seed=0, progress=Silent())
    np.testing.assert_allclose(
        fitted(constant(SCORED[:1]), np.array([77])), RAW.mean(axis=0)[None], atol=1e-5
    )


def test_wide_samples_that_are_all_alike_tell_nothing() -> None:
    """No component is left of 2,048 constant values: the means of the labels are all that is known."""

    def alike(samples: Samples) -> Samples:
        return np.full((len(samples), 2_048), 0.5, np.float32)

    np.testing.assert_allclose(guesses(Ridge(), alike), guesses(ClassMean(), alike), atol=1e-6)
