"""Recognisers from outside: a planted attribute is recognised, one that only a label is left of is not."""

from typing import Any

import numpy as np
import pytest

from obfnet.attacks import AttributeAttack
from obfnet.attacks.boosted_trees import BoostedTrees
from obfnet.attacks.linear_probe import LinearProbe
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from obfnet.data.rows import Rows
from tests.unit.attacks.planted import SHAPE, VALUES, Samples, planted

Recogniser = type[AttributeAttack]


@pytest.fixture(params=[LinearProbe, BoostedTrees], ids=lambda one: one.name)
def recogniser(request: pytest.FixtureRequest) -> Recogniser:
    attack: Recogniser = request.param
    return attack


def recognised(
    attack: Recogniser, known: Any, values: Samples, asked: Samples, *, count: int = VALUES, seed: int = 0
) -> Samples:
    fitted = attack(effort=0.3).fit(known, values, count=count, seed=seed, progress=Silent())
    return fitted(asked)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_planted_attribute_is_recognised(recogniser: Recogniser, dtype: str) -> None:
    (samples, values), (asked, truth) = planted(1_500, 0), planted(400, 1)
    if dtype == "uint8":
        samples, asked = ((part * 255).astype(np.uint8) for part in (samples, asked))
    scores = recognised(recogniser, samples, values, asked)
    assert (scores.shape, scores.dtype) == ((400, VALUES), np.float64)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert (scores.argmax(axis=1) == truth).mean() > 0.85


def test_wide_samples_go_through_components(recogniser: Recogniser) -> None:
    (samples, values), (asked, truth) = planted(600, 0), planted(200, 1)
    wide, wide_asked = (np.repeat(part, 6, axis=1) for part in (samples, asked))
    assert (recognised(recogniser, wide, values, wide_asked).argmax(axis=1) == truth).mean() > 0.8


def test_from_the_label_alone_nobody_is_recognised(recogniser: Recogniser) -> None:
    random = np.random.default_rng(0)
    labels, values = random.integers(0, 10, 2_000), random.integers(0, VALUES, 2_000)
    received = random.uniform(0, 1, (10, *SHAPE)).astype(np.float32)[labels]
    answers = recognised(recogniser, received[:1_400], values[:1_400], received[1_400:]).argmax(axis=1)
    # Three standard deviations of a guess at random.
    assert abs((answers == values[1_400:]).mean() - 1 / VALUES) < 3 * np.sqrt(0.25 * 0.75 / 600)


def test_on_a_constant_it_answers_the_most_frequent_value(recogniser: Recogniser) -> None:
    values = np.array([0, 1, 1, 2] * 20)
    scores = recognised(
        recogniser, np.full((80, *SHAPE), 0.5, np.float32), values, np.full((5, *SHAPE), 0.5, np.float32)
    )
    np.testing.assert_allclose(scores, np.tile([0.25, 0.5, 0.25, 0], (5, 1)), atol=0.03)


def test_rows_from_a_file_are_taken_as_an_array_is_and_the_seed_repeats(recogniser: Recogniser) -> None:
    (samples, values), (asked, _) = planted(300, 0), planted(70, 1)
    lazy = Rows(lambda index: samples[index], samples.shape, samples.dtype)
    np.testing.assert_array_equal(
        recognised(recogniser, samples, values, asked), recognised(recogniser, lazy, values, asked)
    )


def test_values_that_nobody_was_seen_with_have_no_score(recogniser: Recogniser) -> None:
    samples, values = planted(200, 0)
    scores = recognised(recogniser, samples, np.where(values == 2, 5, values), samples[:9], count=8)
    assert scores.shape == (9, 8)
    assert not scores[:, [2, 4, 6, 7]].any()
    only = recognised(recogniser, samples, np.full(200, 3), samples[:9])
    np.testing.assert_array_equal(only.argmax(axis=1), 3)


def test_two_values_are_enough(recogniser: Recogniser) -> None:
    samples, values = planted(600, 0)
    assert (
        recognised(recogniser, samples, values % 2, samples, count=2).argmax(axis=1) == values % 2
    ).mean() > 0.8


@pytest.mark.parametrize(
    ("count", "values", "message"),
    [
        (19, np.zeros(19, np.int64), "at least 20 samples, got 19"),
        (20, np.full(20, -1), "values from 0"),
        (20, np.full(20, 4), "values below 4, got up to 4"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    recogniser: Recogniser, count: int, values: Samples, message: str
) -> None:
    with pytest.raises(AttackError, match=message):
        recognised(
            recogniser, np.zeros((count, *SHAPE), np.float32), values, np.zeros((1, *SHAPE), np.float32)
        )
