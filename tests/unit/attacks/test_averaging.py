"""Averaging over repeats: it gains from fresh noise, not from the same request again, and asks in order."""

from typing import Any

import numpy as np
import pytest

from obfnet.attacks import Insider
from obfnet.attacks.averaging import Averaging
from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.decoder import Decoder
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
    mean_ssim,
    unchanged,
)

FLOOR = mean_ssim(guesses(ClassMean(), unchanged))
EFFORT = 0.04


class Sender:
    """An obfuscator that may draw noise for every request."""

    def __init__(self, function: Any) -> None:
        self.obfuscate = function

    def differentiable(self) -> Any:
        raise NotImplementedError


def noisy(seed: int) -> Sender:
    random = np.random.default_rng(seed)
    return Sender(lambda raw: (raw + random.normal(0, 0.8, raw.shape)).clip(0, 1).astype(np.float32))


def knowledge(
    sender: Sender, *, known: bool, count: int | None = None, repeats: bool = True
) -> tuple[Insider, Samples]:
    asked = [sender.obfuscate(SCORED) for _ in range(8)]
    return Insider(
        received=sender.obfuscate(RAW[:count]),
        raw=RAW[:count],
        labels=LABELS[:count],
        network=sender if known else None,
        repeats=asked.__getitem__ if repeats else None,
    ), asked[0]


def attacked(sender: Sender, *, known: bool, repeats: int = 8, **options: Any) -> Samples:
    held, asked = knowledge(sender, known=known, **options)
    attack = Averaging(effort=EFFORT, repeats=repeats, hidden=256)
    guess = np.asarray(attack.fit(held, seed=0, progress=Silent())(asked, ANSWERED))
    assert guess.dtype == np.float32
    assert 0 <= guess.min() <= guess.max() <= 1
    return guess


@pytest.mark.parametrize("known", [False, True])
def test_repeats_with_fresh_noise_give_more_away_than_one_request(known: bool) -> None:
    once = mean_ssim(guesses(Decoder(effort=EFFORT, hidden=256), noisy(0).obfuscate))
    assert mean_ssim(attacked(noisy(0), known=known)) > once + (0.1 if known else 0.01)


def test_who_knows_the_network_gains_more_than_who_averages_guesses() -> None:
    assert mean_ssim(attacked(noisy(0), known=True)) > mean_ssim(attacked(noisy(0), known=False)) + 0.02


@pytest.mark.parametrize("known", [False, True])
def test_on_raw_samples_it_clearly_beats_the_class_mean(known: bool) -> None:
    assert mean_ssim(attacked(Sender(unchanged), known=known)) > FLOOR + 0.05


@pytest.mark.parametrize("known", [False, True])
def test_on_a_constant_it_cannot_beat_the_class_mean(known: bool) -> None:
    guess = attacked(Sender(constant), known=known)
    assert mean_ssim(guess) < FLOOR + 0.01
    assert np.ptp(guess, axis=0).max() < 1e-6


def test_the_seed_decides_the_guesses() -> None:
    held, asked = knowledge(Sender(unchanged), known=False, count=200)
    attack = Averaging(effort=0.002, hidden=64)
    a, b, c = (attack.fit(held, seed=seed, progress=Silent())(asked, ANSWERED) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_the_first_scored_requests_may_be_asked_about_alone_and_no_more_than_there_are() -> None:
    held, asked = knowledge(noisy(0), known=False, count=200)
    fitted = Averaging(effort=0.002, hidden=64).fit(held, seed=0, progress=Silent())
    np.testing.assert_allclose(fitted(asked[:5], ANSWERED[:5]), fitted(asked, ANSWERED)[:5], atol=1e-6)
    twice = np.concatenate([asked, asked])
    with pytest.raises(AttackError, match="repeats of every sample that is asked about"):
        fitted(twice, np.concatenate([ANSWERED, ANSWERED]))


def test_samples_that_were_sent_once_are_refused() -> None:
    held, _ = knowledge(Sender(unchanged), known=True, count=50, repeats=False)
    with pytest.raises(AttackError, match="sent again and again, got none"):
        Averaging(effort=EFFORT).fit(held, seed=0, progress=Silent())


def test_less_than_one_repeat_is_refused() -> None:
    with pytest.raises(AttackError, match="at least 1 repeat, got 0"):
        Averaging(repeats=0)
