"""Every attack has two controls: on raw samples it clearly beats the mean sample, on a constant it cannot
beat the floor. One row an attack.

The samples are the bundled digits, each pixel doubled, so that SSIM's windows have something to see.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from obfnet.attacks import ATTACKS, Reconstruction, WhiteBox
from obfnet.core.errors import AttackError, UnknownNameError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.metrics.similarity import mse, ssim

Samples = np.ndarray[Any, Any]

# Name to threat level, and whether it looks at what was received.
ROWS: dict[str, tuple[str, bool]] = {
    "decoder": ("T2", True),
    "class-mean": ("T0", False),
}
# Of a standard training: enough for these few small samples, and as little as can be.
EFFORT: Final = 0.1
LITTLE: Final = 0.01


class Pairs:
    """What an attacker trains on and what it is scored on."""

    def __init__(self) -> None:
        digits = load_case("digits")
        self.raw, self.labels = doubled(digits.train.samples), digits.train.labels
        self.scored, self.answered = doubled(digits.test.samples), digits.test.labels


def doubled(samples: Samples) -> Samples:
    return np.kron(samples, np.ones((1, 1, 2, 2), np.float32))


def constant(samples: Samples) -> Samples:
    return np.full_like(samples, 0.5)


def unchanged(samples: Samples) -> Samples:
    return samples


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return Pairs()


def fit(
    name: str,
    pairs: Pairs,
    obfuscate: Callable[[Samples], Samples],
    *,
    count: int | None = None,
    seed: int = 0,
    effort: float = EFFORT,
) -> Reconstruction:
    knowledge = WhiteBox(
        received=obfuscate(pairs.raw[:count]), raw=pairs.raw[:count], labels=pairs.labels[:count]
    )
    knowledge.forbid_overlap(pairs.scored)
    return ATTACKS.get(name)(effort=effort).fit(knowledge, seed=seed, progress=Silent())


def test_every_attack_has_a_row() -> None:
    assert ATTACKS.names() == list(ROWS)


def test_an_unknown_attack_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: decoder, class-mean"):
        ATTACKS.get("magic")


@pytest.mark.parametrize("name", ROWS)
def test_an_attack_says_what_it_is(name: str) -> None:
    attack = ATTACKS.get(name)()
    assert (attack.name, attack.threat_level) == (name, ROWS[name][0])
    assert attack.citation
    assert attack.assumes


@pytest.mark.parametrize("name", ROWS)
def test_on_raw_samples_it_clearly_beats_the_mean_sample(name: str, pairs: Pairs) -> None:
    guess = fit(name, pairs, unchanged)(pairs.scored, pairs.answered)
    mean = np.broadcast_to(pairs.raw.mean(axis=0), pairs.scored.shape)
    assert ssim(pairs.scored, guess).mean() > ssim(pairs.scored, mean).mean() + 0.2
    assert mse(pairs.scored, guess).mean() < 0.75 * mse(pairs.scored, mean).mean()
    if ROWS[name][1]:
        floor = fit("class-mean", pairs, unchanged)(pairs.scored, pairs.answered)
        assert ssim(pairs.scored, guess).mean() > ssim(pairs.scored, floor).mean() + 0.05
        assert mse(pairs.scored, guess).mean() < 0.75 * mse(pairs.scored, floor).mean()


@pytest.mark.parametrize("name", ROWS)
def test_on_a_constant_it_cannot_beat_the_floor(name: str, pairs: Pairs) -> None:
    guess = fit(name, pairs, constant)(constant(pairs.scored), pairs.answered)
    floor = fit("class-mean", pairs, constant)(constant(pairs.scored), pairs.answered)
    assert ssim(pairs.scored, guess).mean() < ssim(pairs.scored, floor).mean() + 0.01
    if ROWS[name][1]:
        # Whoever learns from the received samples alone has nothing to tell two of them apart by.
        assert np.ptp(guess, axis=0).max() < 1e-6


@pytest.mark.parametrize("name", ROWS)
def test_guesses_are_samples(name: str, pairs: Pairs) -> None:
    reconstruct = fit(name, pairs, unchanged, count=200, effort=LITTLE)
    for count in (1, 7):
        guess = reconstruct(pairs.scored[:count], pairs.answered[:count])
        assert guess.shape == (count, 1, 16, 16)
        assert guess.dtype == np.float32
        assert 0 <= guess.min() <= guess.max() <= 1


@pytest.mark.parametrize("name", ROWS)
def test_the_seed_decides_the_guesses(name: str, pairs: Pairs) -> None:
    a, b, c = (
        fit(name, pairs, unchanged, count=200, seed=seed, effort=LITTLE)(pairs.scored, pairs.answered)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert np.array_equal(a, c) != ROWS[name][1]


@pytest.mark.parametrize("name", ROWS)
def test_what_the_attacker_knows_is_not_changed(name: str, pairs: Pairs) -> None:
    before = pairs.raw.copy()
    fit(name, pairs, unchanged, count=200, effort=LITTLE)
    np.testing.assert_array_equal(pairs.raw, before)


@pytest.mark.parametrize("name", ROWS)
def test_no_effort_is_refused(name: str, pairs: Pairs) -> None:
    with pytest.raises(AttackError, match="an effort above 0, got 0"):
        fit(name, pairs, unchanged, count=20, effort=0)
