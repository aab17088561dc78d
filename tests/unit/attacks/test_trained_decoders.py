"""The decoders that train a network on pairs: each with its controls, any shape, and stopped and resumed."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from obfnet.attacks import ReconstructionAttack, WhiteBox
from obfnet.attacks.adversarial_decoder import AdversarialDecoder
from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.large_decoder import LargeDecoder
from obfnet.attacks.residual_decoder import ResidualDecoder
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from obfnet.data.rows import mapped
from obfnet.fitting import Checkpoint
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
    unchanged,
)

# Each with as little effort as shows that it is able.
DECODERS: Final[dict[type[Any], dict[str, Any]]] = {
    ResidualDecoder: {"effort": 0.03, "channels": 8},
    LargeDecoder: {"effort": 0.03, "hidden": 256, "blocks": 1},
    AdversarialDecoder: {"effort": 0.08, "hidden": 256},
}
LITTLE: Final = 0.002


def attack(kind: type[Any], **options: Any) -> ReconstructionAttack:
    made: ReconstructionAttack = kind(**(DECODERS[kind] | options))
    return made


@pytest.fixture(scope="module")
def floor() -> Samples:
    return guesses(ClassMean(), unchanged)


@pytest.mark.parametrize("kind", DECODERS)
def test_on_raw_samples_it_clearly_beats_the_class_mean(kind: type[Any], floor: Samples) -> None:
    guess = guesses(attack(kind), unchanged)
    assert guess.dtype == np.float32
    assert 0 <= guess.min() <= guess.max() <= 1
    assert mean_ssim(guess) > mean_ssim(floor) + 0.1
    assert mean_mse(guess) < 0.75 * mean_mse(floor)


@pytest.mark.parametrize("kind", DECODERS)
def test_on_a_constant_it_cannot_beat_the_class_mean(kind: type[Any], floor: Samples) -> None:
    guess = guesses(attack(kind), constant)
    assert mean_ssim(guess) < mean_ssim(floor) + 0.01
    assert np.ptp(guess, axis=0).max() < 1e-6


@pytest.mark.parametrize("kind", DECODERS)
def test_received_samples_may_have_any_shape_and_be_bytes(kind: type[Any], floor: Samples) -> None:
    secret = np.random.default_rng(0).normal(size=(256, 90)) / 16

    def code(samples: Samples) -> Samples:
        mixed = 128 + 60 * (samples.reshape(len(samples), -1) @ secret)
        return mixed.clip(0, 255).astype(np.uint8)

    lazy = mapped(RAW, code)
    known = WhiteBox(received=lazy, raw=mapped(RAW, unchanged), labels=LABELS)
    guess = attack(kind).fit(known, seed=0, progress=Silent())(code(SCORED), ANSWERED)
    assert mean_ssim(guess) > mean_ssim(floor) + 0.05


@pytest.mark.parametrize("kind", DECODERS)
def test_the_seed_decides_the_guesses(kind: type[Any]) -> None:
    a, b, c = (guesses(attack(kind, effort=LITTLE), unchanged, count=200, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("shape", [(3, 17, 30), (1, 6, 5)])
def test_raw_samples_may_have_any_height_and_width(kind: type[Any], shape: tuple[int, ...]) -> None:
    raw = np.random.default_rng(0).random((40, *shape), dtype=np.float32)
    labels = np.arange(40) % 2
    for received in (raw, raw[:, :1, :5, :5]):
        known = WhiteBox(received=received, raw=raw, labels=labels)
        fitted = attack(kind, effort=LITTLE).fit(known, seed=0, progress=Silent())
        assert fitted(received[:3], labels[:3]).shape == (3, *shape)


def test_the_large_one_takes_vectors_and_the_others_say_that_they_do_not() -> None:
    raw = np.random.default_rng(0).random((60, 40), dtype=np.float32)
    known = WhiteBox(received=raw, raw=raw, labels=np.zeros(60, np.int64))
    guess = attack(LargeDecoder, effort=0.02).fit(known, seed=0, progress=Silent())(raw, known.labels)
    assert guess.shape == raw.shape
    assert ((guess - raw) ** 2).mean() < 0.5 * raw.var()
    for kind in (ResidualDecoder, AdversarialDecoder):
        with pytest.raises(AttackError, match=r"raw samples of shape \(N, C, H, W\) for \w+-decoder"):
            attack(kind).fit(known, seed=0, progress=Silent())


def test_the_large_one_refuses_a_single_pair() -> None:
    known = WhiteBox(received=RAW[:1], raw=RAW[:1], labels=LABELS[:1])
    with pytest.raises(AttackError, match="at least 2 pairs"):
        attack(LargeDecoder).fit(known, seed=0, progress=Silent())


class Stopper(Silent):
    """Interrupts the run after some steps."""

    def advance(self, done: int, note: str = "") -> None:
        if done == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", DECODERS)
def test_a_stopped_attack_ends_as_an_uninterrupted_one(kind: type[Any], tmp_path: Path) -> None:
    known = WhiteBox(received=RAW[:300], raw=RAW[:300], labels=LABELS[:300])

    def guess(checkpoint: Checkpoint | None, progress: Silent) -> Samples:
        fitted = attack(kind, effort=0.008, checkpoint=checkpoint).fit(known, seed=1, progress=progress)
        return np.asarray(fitted(SCORED[:20], ANSWERED[:20]))

    def state() -> Checkpoint:
        return Checkpoint(path=tmp_path / "state", fingerprint="f", every_s=0)

    with pytest.raises(KeyboardInterrupt):
        guess(state(), Stopper())
    assert state().load() is not None
    np.testing.assert_array_equal(guess(state(), Silent()), guess(None, Silent()))
