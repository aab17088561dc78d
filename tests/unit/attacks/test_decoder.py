"""The decoder: what it trains for is what it is scored by, and it can be stopped and resumed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from obfnet.attacks import WhiteBox
from obfnet.attacks.decoder import Decoder
from obfnet.attacks.decoder_network import _mean_ssim
from obfnet.core.errors import UsageError
from obfnet.core.progress import Silent
from obfnet.fitting import Checkpoint
from obfnet.metrics.similarity import ssim

RAW = np.random.default_rng(0).random((300, 1, 6, 6), dtype=np.float32)
PAIRS = WhiteBox(received=RAW[..., ::-1].copy(), raw=RAW, labels=np.zeros(300, np.int64))
FRESH = np.random.default_rng(1).random((1200, 1, 6, 6), dtype=np.float32)
LABELS = np.zeros(1200, np.int64)


class Stopper(Silent):
    """Interrupts the run after a step."""

    def advance(self, done: int, note: str = "") -> None:
        if done == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 7, 9)])
def test_what_it_trains_for_is_what_it_is_scored_by(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    raw = np.cumsum(random.random((5, *shape)), axis=-1).astype(np.float32) % 1
    guess = np.clip(raw + random.normal(0, 0.2, raw.shape), 0, 1).astype(np.float32)
    guess[4], raw[3] = 0.5, 0.0
    ours = [float(_mean_ssim(torch.tensor(guess[i : i + 1]), torch.tensor(raw[i : i + 1]))) for i in range(5)]
    np.testing.assert_allclose(ours, ssim(raw, guess), rtol=0, atol=2e-4)


def test_samples_too_small_for_ssim_are_decoded_too() -> None:
    reconstruct = Decoder(epochs=120.0, hidden=64).fit(PAIRS, seed=0, progress=Silent())
    guess = reconstruct(FRESH[..., ::-1].copy(), LABELS)
    # More samples than are decoded at a time, in their order.
    assert guess.shape == FRESH.shape
    assert ((guess - FRESH) ** 2).mean() < 0.5 * FRESH.var()


def test_a_stopped_attack_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    def attack(checkpoint: Checkpoint | None, progress: Silent) -> np.ndarray:
        decoder = Decoder(epochs=5.0, hidden=16, checkpoint=checkpoint)
        fitted = decoder.fit(PAIRS, seed=1, progress=progress)
        return fitted(FRESH, LABELS)

    def checkpoint() -> Checkpoint:
        return Checkpoint(path=tmp_path / "state", fingerprint="f", every_s=0)

    with pytest.raises(KeyboardInterrupt):
        attack(checkpoint(), Stopper())
    assert checkpoint().load() is not None
    np.testing.assert_array_equal(attack(checkpoint(), Silent()), attack(None, Silent()))


def test_an_impossible_length_is_refused() -> None:
    with pytest.raises(UsageError, match="epochs above 0"):
        Decoder(epochs=0).fit(PAIRS, seed=0, progress=Silent())
