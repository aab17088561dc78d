"""Finding the true sample in a crowd, against a slow search with real draws, and against chance."""

from typing import Any

import numpy as np
import pytest

from obfnet.attacks.reidentification import RankK, Similarity, rank_k
from obfnet.core.errors import AttackError
from obfnet.data.rows import Rows

Samples = np.ndarray[Any, Any]


def some(count: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(size=(count, 1, 4, 5)).astype(np.float32)


def blurred(raw: Samples, noise: float) -> Samples:
    random = np.random.default_rng(9)
    return (0.3 + 0.5 * raw + random.normal(0, noise, raw.shape)).clip(0, 1).astype(np.float32)


def share(found: tuple[RankK, ...], crowd: int, k: int) -> float:
    (one,) = [each for each in found if (each.crowd, each.k) == (crowd, k)]
    assert one.chance == k / crowd
    return float(one.hits.mean())


def drawn(guess: Samples, raw: Samples, crowd: int, k: int, similarity: str, draws: int) -> float:
    """The obvious way: draw a crowd, compare one by one, count who stands before the true one."""
    random = np.random.default_rng(4)
    guess, raw = (part.reshape(len(part), -1).astype(np.float64) for part in (guess, raw))
    hits = 0
    for draw in range(draws):
        true = draw % len(raw)
        others = random.choice(np.delete(np.arange(len(raw)), true), crowd - 1, replace=False)
        if similarity == "distance":
            values = [-((guess[true] - raw[other]) ** 2).sum() for other in [true, *others]]
        else:
            a = guess[true] - guess.mean(axis=0)
            directions = raw - raw.mean(axis=0)
            values = [a @ directions[other] / np.linalg.norm(directions[other]) for other in [true, *others]]
        hits += sum(value > values[0] for value in values[1:]) < k
    return hits / draws


@pytest.mark.parametrize("similarity", ["cosine", "distance"])
def test_the_exact_probability_is_what_real_draws_come_near_to(similarity: Similarity) -> None:
    raw = some(150)
    guess = blurred(raw, 0.4)
    found = rank_k(guess, raw, crowds=(20, 100), ranks=(1, 5), similarity=similarity)
    assert [(each.crowd, each.k) for each in found] == [(20, 1), (20, 5), (100, 1), (100, 5)]
    for each in found:
        truth = float(each.hits.mean())
        slow = drawn(guess, raw, each.crowd, each.k, similarity, 1_500)
        assert abs(slow - truth) < 4 * np.sqrt(truth * (1 - truth) / 1_500)


@pytest.mark.parametrize("similarity", ["cosine", "distance"])
def test_the_identity_finds_everybody(similarity: Similarity) -> None:
    raw = some(1_200)
    found = rank_k(raw, raw, similarity=similarity)
    assert [(each.crowd, each.k) for each in found] == [(100, 1), (100, 10), (1_000, 1), (1_000, 10)]
    assert all((each.hits > 0.999).all() for each in found)


@pytest.mark.parametrize("similarity", ["cosine", "distance"])
def test_a_constant_finds_nobody_but_by_chance(similarity: Similarity) -> None:
    raw = some(1_100)
    for each in rank_k(np.full_like(raw, 0.4), raw, similarity=similarity):
        # Over all requests one guess for all is exactly chance: somebody's sample must stand first.
        assert float(each.hits.mean()) == pytest.approx(each.chance, rel=1e-6)


def test_noise_finds_nobody_but_by_chance() -> None:
    for each in rank_k(some(1_100, seed=1), some(1_100)):
        assert abs(float(each.hits.mean()) - each.chance) < 4 * np.sqrt(each.chance / 1_100)


def test_a_pale_guess_is_recognised_by_what_sets_it_apart() -> None:
    raw = some(400)
    guess = blurred(raw, 0.1) * 0.3
    assert share(rank_k(guess, raw), 100, 1) > share(rank_k(guess, raw, similarity="distance"), 100, 1) + 0.1


def test_whoever_obfuscates_every_candidate_finds_what_was_sent() -> None:
    raw = some(300)
    secret = np.random.default_rng(3).normal(size=(20, 7)) / 10
    received = (0.5 + raw.reshape(300, -1) @ secret).astype(np.float32)
    assert share(rank_k(received, received), 100, 1) > 0.999


def test_equal_codes_stand_in_a_random_order() -> None:
    codes = np.eye(5, dtype=np.float32)[np.arange(100) % 5]
    # Twenty hold each code, all of them in the crowd: the true one is the first of them one time in twenty.
    found = rank_k(codes, codes, ranks=(1, 10, 20))
    assert [share(found, 100, k) for k in (1, 10, 20)] == pytest.approx([1 / 20, 1 / 2, 1])


def test_of_many_samples_an_evenly_spaced_part_is_asked_from_rows_as_from_arrays() -> None:
    raw = some(2_500)
    guess = blurred(raw, 0.2)
    lazy = [Rows(lambda index, part=part: part[index], part.shape, part.dtype) for part in (guess, raw)]
    one, other = rank_k(guess, raw), rank_k(lazy[0], lazy[1])
    assert len(one[0].index) == len(one[0].hits) == 2_000
    assert (one[0].index[0], one[0].index[-1]) == (0, 2_499)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.hits, b.hits)


def test_crowds_larger_than_the_samples_are_left_out_and_none_is_refused() -> None:
    raw = some(120)
    assert {each.crowd for each in rank_k(raw, raw)} == {100}
    with pytest.raises(AttackError, match="at least 100 samples, got 99"):
        rank_k(raw[:99], raw[:99])
    with pytest.raises(AttackError, match="a candidate like each request"):
        rank_k(raw, raw[:, :, :2])
