"""The decoder of someone who does not know the member: it decodes them all, and needs to know the pool."""

from typing import Any

import numpy as np
import pytest

from obfnet.attacks import PoolKnown, WhiteBox
from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.decoder import Decoder
from obfnet.attacks.pool_decoder import PoolDecoder
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


class Member:
    """One of a pool: each shifts a sample by another number of rows and columns, all the way around."""

    def __init__(self, function: Any) -> None:
        self.obfuscate = function

    def differentiable(self) -> Any:
        raise NotImplementedError


POOL = tuple(Member(lambda raw, by=by: np.roll(raw, (by, 2 * by), (2, 3))) for by in (3, 8))


def fit(pool: tuple[Member, ...], *, effort: float = 0.05, count: int | None = None, seed: int = 0) -> Any:
    known = PoolKnown(raw=RAW[:count], labels=LABELS[:count], pool=pool)
    return PoolDecoder(effort=effort, hidden=256).fit(known, seed=seed, progress=Silent())


def test_it_decodes_every_member_where_one_members_decoder_fails_on_the_others() -> None:
    fitted = fit(POOL, effort=0.12)
    first = POOL[0].obfuscate(RAW)
    single = Decoder(effort=0.05, hidden=256).fit(
        WhiteBox(received=first, raw=RAW, labels=LABELS), seed=0, progress=Silent()
    )
    for member in POOL:
        guess = fitted(member.obfuscate(SCORED), ANSWERED)
        assert guess.dtype == np.float32
        assert 0 <= guess.min() <= guess.max() <= 1
        assert mean_ssim(guess) > FLOOR + 0.05
    assert mean_ssim(single(POOL[1].obfuscate(SCORED), ANSWERED)) < FLOOR


def test_on_a_pool_that_sends_a_constant_it_cannot_beat_the_class_mean() -> None:
    guess = fit((Member(constant), Member(constant)))(constant(SCORED), ANSWERED)
    assert mean_ssim(guess) < FLOOR + 0.01
    assert np.ptp(guess, axis=0).max() < 1e-6


def test_the_seed_decides_the_guesses() -> None:
    a, b, c = (
        fit(POOL, effort=0.002, count=200, seed=seed)(SCORED[:50], ANSWERED[:50]) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_each_pass_sends_a_sample_through_another_member() -> None:
    seen: list[set[int]] = [set() for _ in range(40)]

    def noted(number: int) -> Any:
        def obfuscate(raw: Samples) -> Samples:
            for value in raw[:, 0, 0, 0]:
                seen[round(float(value) * 100)].add(number)
            return raw

        return obfuscate

    raw = np.zeros((40, 1, 8, 8), np.float32) + (np.arange(40, dtype=np.float32) / 100)[:, None, None, None]
    known = PoolKnown(raw=raw, labels=np.zeros(40, np.int64), pool=(Member(noted(0)), Member(noted(1))))
    PoolDecoder(effort=0.03, hidden=8).fit(known, seed=0, progress=Silent())
    # Four are held out, and always go through the same member: a choice must not hang on chance.
    assert sum(members == {0, 1} for members in seen) >= 36


def test_without_a_pool_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(AttackError, match="the networks of a pool, got none"):
        fit(())


def test_members_that_send_different_shapes_are_refused() -> None:
    with pytest.raises(AttackError, match="of one shape"):
        fit((Member(unchanged), Member(lambda raw: raw[:, :, :8])))
