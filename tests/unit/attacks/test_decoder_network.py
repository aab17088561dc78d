"""The decoder for large samples: on the identity it beats the class mean, and its loss is the score."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from obfnet.attacks import ReconstructionAttack, WhiteBox
from obfnet.attacks.class_mean import ClassMean
from obfnet.attacks.decoder import Decoder
from obfnet.attacks.decoder_network import decoder_network, reconstruction_loss
from obfnet.core.progress import Silent
from obfnet.metrics.similarity import mse, ssim

Samples = np.ndarray[Any, Any]


def photographs(count: int, shape: tuple[int, int, int], seed: int) -> tuple[Samples, Samples]:
    """Smooth pictures of two classes that differ in colour; each with a pattern of its own."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pattern = gaussian_filter(random.normal(size=(count, *shape)), (0, 0, 4, 4), mode="wrap")
    pattern /= pattern.std(axis=(1, 2, 3), keepdims=True)
    tint = np.array([[0.6, 0.45, 0.4], [0.4, 0.45, 0.6]])[labels, :, None, None]
    return np.clip(tint + 0.15 * pattern, 0, 1).astype(np.float32), labels


def test_on_large_raw_samples_it_beats_the_class_mean() -> None:
    shape = (3, 64, 64)
    raw, labels = photographs(32, shape, 0)
    asked, truth = photographs(16, shape, 1)
    known = WhiteBox(received=raw, raw=raw, labels=labels)

    def attacked(attack: ReconstructionAttack) -> Samples:
        guess = attack.fit(known, seed=0, progress=Silent())(asked, truth)
        assert guess.shape == asked.shape
        return guess

    guess, floor = attacked(Decoder(epochs=120.0, hidden=4)), attacked(ClassMean())
    assert ssim(asked, guess).mean() > ssim(asked, floor).mean() + 0.2
    assert mse(asked, guess).mean() < mse(asked, floor).mean()


@pytest.mark.parametrize(
    ("shape", "convolutional"),
    [
        ((3, 64, 64), True),
        ((1, 33, 35), True),
        ((3, 19, 31), True),
        ((1, 28, 28), False),
        ((3, 18, 18), False),
    ],
)
def test_large_samples_get_convolutions_and_any_size_comes_back(
    shape: tuple[int, int, int], convolutional: bool
) -> None:
    received = torch.rand(4, *shape)
    network = decoder_network(received, shape, 16)
    assert any(isinstance(part, nn.Conv2d) for part in network.modules()) == convolutional
    guess = network(received).detach()
    assert guess.shape == (4, *shape)
    assert 0 <= float(guess.min()) <= float(guess.max()) <= 1


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 20, 45), (2, 7, 7)])
def test_the_loss_is_the_score(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    raw = random.random((5, *shape), dtype=np.float32)
    guess = np.clip(raw + random.normal(0, 0.2, raw.shape), 0, 1).astype(np.float32)
    loss = reconstruction_loss(torch.from_numpy(guess), torch.from_numpy(raw))
    assert float(loss) == pytest.approx(mse(raw, guess).mean() + 1 - ssim(raw, guess).mean(), abs=1e-4)


def test_samples_smaller_than_the_window_are_scored_by_their_error() -> None:
    raw, guess = torch.zeros(2, 1, 5, 20), torch.full((2, 1, 5, 20), 0.5)
    assert float(reconstruction_loss(guess, raw)) == 0.25
