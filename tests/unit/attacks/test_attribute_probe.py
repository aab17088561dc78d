"""Who speaks, recognised from what was received: where it is planted, and where only a label is left."""

from typing import Any

import numpy as np
import pytest

from obfnet.attacks.attribute_probe import KnownAttributes, probe_attribute
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from obfnet.data.rows import Rows

SHAPE, VALUES = (1, 10, 12), 4
Samples = np.ndarray[Any, Any]


def planted(count: int, seed: int) -> tuple[Samples, Samples]:
    """Noise in which the attribute's value raises one row a little; float32 in [0, 1]."""
    random = np.random.default_rng(seed)
    values = random.integers(0, VALUES, count)
    samples = random.uniform(0, 0.6, (count, *SHAPE))
    samples[np.arange(count), 0, 2 * values] += 0.3
    return samples.astype(np.float32), values


def probed(known: KnownAttributes, received: Any, seed: int = 0, epochs: float = 12) -> Samples:
    return probe_attribute(known, received, epochs=epochs, seed=seed, progress=Silent())


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_planted_attribute_is_recognised(dtype: str) -> None:
    (samples, values), (asked, truth) = planted(1_500, 0), planted(400, 1)
    if dtype == "uint8":
        samples, asked = ((part * 255).astype(np.uint8) for part in (samples, asked))
    guesses = probed(KnownAttributes(received=samples, values=values), asked)
    assert (guesses.shape, guesses.dtype) == ((400,), np.int64)
    assert (guesses == truth).mean() > 0.95


def test_from_the_label_alone_nobody_is_recognised() -> None:
    random = np.random.default_rng(0)
    labels, values = random.integers(0, 10, 2_000), random.integers(0, VALUES, 2_000)
    prototypes = random.uniform(0, 1, (10, *SHAPE)).astype(np.float32)
    received = prototypes[labels]
    known = KnownAttributes(received=received[:1_400], values=values[:1_400])
    guesses = probed(known, received[1_400:])
    # Three standard deviations of a guess at random.
    assert abs((guesses == values[1_400:]).mean() - 1 / VALUES) < 3 * np.sqrt(0.25 * 0.75 / 600)
    constant = np.full_like(received, 0.5)
    same = probed(
        KnownAttributes(received=constant[:1_400], values=values[:1_400]), constant[1_400:], epochs=2
    )
    assert len(set(same.tolist())) == 1


def test_rows_from_a_file_are_taken_as_an_array_is() -> None:
    (samples, values), (asked, _) = planted(300, 0), planted(70, 1)

    def rows(array: Samples) -> Rows:
        return Rows(lambda index: array[index], array.shape, array.dtype)

    plain = probed(KnownAttributes(received=samples, values=values), asked, epochs=2)
    lazy = probed(KnownAttributes(received=rows(samples), values=values), rows(asked), epochs=2)
    np.testing.assert_array_equal(plain, lazy)


def test_the_seed_decides_the_guesses_and_nothing_known_is_changed() -> None:
    (samples, values), (asked, _) = planted(200, 0), planted(200, 1)
    before = samples.copy(), values.copy()
    known = KnownAttributes(received=samples, values=values)
    one, again, other = (probed(known, asked, seed=seed, epochs=1) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    np.testing.assert_array_equal(samples, before[0])
    np.testing.assert_array_equal(values, before[1])


@pytest.mark.parametrize("count", [20, 64, 65])
def test_few_known_samples_are_enough_to_try(count: int) -> None:
    samples, values = planted(count, 0)
    guesses = probed(KnownAttributes(received=samples, values=values), samples[:1], epochs=2)
    assert guesses.shape == (1,)
    assert 0 <= guesses[0] < VALUES


@pytest.mark.parametrize(
    ("count", "values", "got"),
    [(30, 29, "30 samples, 29 values"), (19, 19, "19 samples, 19 values"), (0, 0, "0 samples, 0 values")],
)
def test_too_few_or_unnamed_samples_are_refused(count: int, values: int, got: str) -> None:
    with pytest.raises(AttackError, match=f"at least 20 samples, got {got}; give more samples"):
        KnownAttributes(received=np.zeros((count, *SHAPE), np.float32), values=np.zeros(values, np.int64))


def test_samples_without_a_value_are_refused() -> None:
    with pytest.raises(AttackError, match="values from 0"):
        KnownAttributes(received=np.zeros((30, *SHAPE), np.float32), values=np.arange(30) - 1)
