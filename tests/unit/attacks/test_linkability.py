"""Linking requests: pairs that are what they say, scikit-learn's AUC, chance where nothing is left."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from obfnet.attacks.linear_probe import LinearProbe
from obfnet.attacks.linkability import auc, linkability, same_sample_pairs, same_value_pairs
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from tests.unit.attacks.planted import VALUES, planted

Samples = np.ndarray[Any, Any]


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_that_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    same = random.integers(0, 2, 300).astype(bool)
    # Rounded, so that many are equal.
    scores = np.round(same * 0.5 + random.normal(size=300), 1)
    assert auc(scores, same) == pytest.approx(roc_auc_score(same, scores))
    assert auc(np.zeros(300), same) == 0.5


def test_pairs_of_one_kind_have_no_area() -> None:
    with pytest.raises(AttackError, match="pairs of either kind, got 0 and 4"):
        auc(np.zeros(4), np.zeros(4, bool))


def test_sendings_are_paired_in_balance_and_by_the_seed() -> None:
    pairs = same_sample_pairs(50, count=30, seed=1)
    assert (len(pairs.same), int(pairs.same.sum())) == (60, 30)
    np.testing.assert_array_equal(pairs.same, pairs.first == pairs.second)
    assert len(np.unique(pairs.first[pairs.same])) == 30
    again, other = same_sample_pairs(50, count=30, seed=1), same_sample_pairs(50, count=30, seed=2)
    np.testing.assert_array_equal(pairs.second, again.second)
    assert not np.array_equal(pairs.second, other.second)
    assert len(same_sample_pairs(5, count=100, seed=0).same) == 10
    with pytest.raises(AttackError, match="at least two samples"):
        same_sample_pairs(1, count=3, seed=0)


@pytest.mark.parametrize("seed", range(3))
def test_requests_of_one_value_are_paired_in_balance(seed: int) -> None:
    values = np.random.default_rng(seed).choice([0, 1, 1, 1, 7, 9], 200)
    values[17] = 5  # occurs once: never one half of a pair that belongs together
    pairs = same_value_pairs(values, count=4_000, seed=seed)
    np.testing.assert_array_equal(values[pairs.first] == values[pairs.second], pairs.same)
    assert int(pairs.same.sum()) == len(pairs.same) - int(pairs.same.sum()) == 4_000
    assert (pairs.first != pairs.second).all()
    # Everybody else of another value is drawn, the one that occurs once among them.
    assert set(values[pairs.second[~pairs.same]]) == set(values)
    frequent = (values[pairs.first] == 1).mean()
    assert abs(frequent - (values == 1).sum() / 199) < 0.03


@pytest.mark.parametrize("values", [[3, 3, 3], [1, 2, 3]])
def test_values_that_make_no_pairs_are_refused(values: list[int]) -> None:
    with pytest.raises(AttackError, match="two values of the attribute, one of them in two requests"):
        same_value_pairs(np.array(values), count=3, seed=0)


def test_what_is_sent_twice_unchanged_is_always_linked() -> None:
    known, sent = planted(300, 0)[0], planted(200, 1)[0]
    found = linkability(known, sent, sent, same_sample_pairs(200, count=200, seed=0))
    assert found.auc("similarity") > 0.9999


def test_noise_makes_it_harder_and_a_constant_impossible() -> None:
    random = np.random.default_rng(0)
    known, sent = planted(400, 0)[0], planted(300, 1)[0]
    pairs = same_sample_pairs(300, count=300, seed=0)

    def noisy(samples: Samples, noise: float) -> Samples:
        return (samples + random.normal(0, noise, samples.shape)).clip(0, 1).astype(np.float32)

    areas = [
        linkability(noisy(known, noise), noisy(sent, noise), noisy(sent, noise), pairs).auc("similarity")
        for noise in (0.1, 1.0)
    ]
    assert areas[0] > 0.99 > areas[1] > 0.5
    same = np.full_like(sent, 0.5)
    assert linkability(np.full_like(known, 0.5), same, same, pairs).auc("similarity") == 0.5


def test_a_speaker_is_linked_better_by_one_who_knows_speakers() -> None:
    (known, values), (asked, truth) = planted(1_200, 0), planted(400, 1)
    recognise = LinearProbe().fit(known, values, count=VALUES, seed=0, progress=Silent())
    pairs = same_value_pairs(truth, count=500, seed=0)
    found = linkability(known, asked, asked, pairs, recognise=recognise)
    assert set(found.scores) == {"similarity", "recognition"}
    assert found.scores["recognition"].shape == (1_000,)
    assert found.auc("recognition") > 0.95
    assert found.auc("recognition") > found.auc("similarity") > 0.55


def test_scores_of_any_scale_are_taken_as_a_recogniser_gives_them() -> None:
    (known, values), (asked, truth) = planted(1_200, 0), planted(400, 1)
    recognise = LinearProbe().fit(known, values, count=VALUES, seed=0, progress=Silent())
    pairs = same_value_pairs(truth, count=500, seed=0)
    plain = linkability(known, asked, asked, pairs, recognise=recognise)
    logits = linkability(known, asked, asked, pairs, recognise=lambda some: np.log(recognise(some) + 1e-12))
    assert logits.auc("recognition") == pytest.approx(plain.auc("recognition"), abs=1e-3)


def test_where_the_label_alone_is_left_speakers_are_not_linked() -> None:
    random = np.random.default_rng(0)
    received = random.uniform(size=(10, 6)).astype(np.float32)[random.integers(0, 10, 1_500)]
    values = random.integers(0, 5, 1_500)
    pairs = same_value_pairs(values[500:], count=2_000, seed=0)
    area = linkability(received[:500], received[500:], received[500:], pairs).auc("similarity")
    # Three standard deviations of an area by chance, and what repeated requests add.
    assert abs(area - 0.5) < 0.04
