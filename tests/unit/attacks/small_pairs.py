"""The bundled digits, each pixel doubled, as the cheap attacks' tests know and score them."""

from typing import Any, Final

import numpy as np

from obfnet.attacks import ReconstructionAttack, WhiteBox
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.metrics.similarity import mse, ssim

Samples = np.ndarray[Any, Any]


def doubled(samples: Samples) -> Samples:
    return np.kron(samples, np.ones((1, 1, 2, 2), np.float32))


_DIGITS: Final = load_case("digits")
RAW: Final = doubled(_DIGITS.train.samples)
LABELS: Final = _DIGITS.train.labels
SCORED: Final = doubled(_DIGITS.test.samples)
ANSWERED: Final = _DIGITS.test.labels


def unchanged(samples: Samples) -> Samples:
    return samples


def constant(samples: Samples) -> Samples:
    return np.full_like(samples, 0.5)


def code(samples: Samples) -> Samples:
    """Which of four quarters are bright, as a picture of the raw shape: at most 16 outputs."""
    quarters = samples.reshape(-1, 1, 2, 8, 2, 8).mean(axis=(3, 5)) > 0.3
    return np.kron(quarters, np.ones((1, 1, 8, 8))).astype(np.float32)


def known(received: Any, scored: Any = None, count: int | None = None) -> WhiteBox:
    """All that a cheap attacker may know of `RAW`, received in this form; the stream is what is scored."""
    return WhiteBox(
        received=received[:count],
        raw=RAW[:count],
        labels=LABELS[:count],
        stream=scored,
        answered=None if scored is None else ANSWERED,
    )


def guesses(
    attack: ReconstructionAttack, obfuscate: Any, *, count: int | None = None, seed: int = 0
) -> Samples:
    """What the attack answers to the scored samples, obfuscated."""
    scored = obfuscate(SCORED)
    knowledge = known(obfuscate(RAW), scored, count)
    return attack.fit(knowledge, seed=seed, progress=Silent())(scored, ANSWERED)


def mean_ssim(guess: Samples) -> float:
    return float(ssim(SCORED, guess).mean())


def mean_mse(guess: Samples) -> float:
    return float(mse(SCORED, guess).mean())
