"""Obfuscations whose leakage is known beforehand, for an audit to be judged by.

Each is a recipe in a few lines of NumPy, with what an audit of it must say. Some leak nothing, some leak
everything although they look like noise, and some are made to fool weak attackers. Who runs them is `audit`'s
affair.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.spec import Samples

Labels = npt.NDArray[np.int64]
Rewrite = Callable[[Samples, Labels, np.random.Generator], npt.NDArray[Any]]
Figures = Mapping[str, Any]

NOISE: Final = 0.5
"""Standard deviation of the additive noise, where samples lie in [0, 1]."""

_TENTH: Final = 0.1
_MIXED: Final = 0.6
_SHRUNK: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class KnownObfuscation:
    """An obfuscation and what an audit must say of it.

    Args:
        name: On the command line and in the result file.
        about: What it does.
        rewrite: Samples in [0, 1], `(N, C, H, W)`, their labels and a source of randomness for each sample's
            own part, to values in [0, 1] of any shape. What is secret but the same for all samples is drawn
            from `_secret`.
        expected: What an audit must say, in words.
        met: The same as a rule on the figures of one audit, as `audit` puts them together; None where nothing
            is known beforehand and the audit's figure is only measured.
        seeds: How often it is audited; each audit has its own cut, attackers and intervals.
    """

    name: str
    about: str
    rewrite: Rewrite
    expected: str
    met: Callable[[Figures], bool] | None
    seeds: int = 1


def _secret() -> np.random.Generator:
    return np.random.default_rng(20_190_912)


def _flat(samples: Samples) -> npt.NDArray[np.float32]:
    return samples.reshape(len(samples), -1)


def _of_label(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    # Ten pictures of noise, one a class: nothing of the sample but its label.
    pictures = _secret().random((1 + int(labels.max()), *samples.shape[1:]), dtype=np.float32)
    return pictures[labels]


def _constant(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    return np.full_like(samples, 0.5)


def _identity(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    return samples


def _tenth(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    given_away = random.random(len(samples)) < _TENTH
    mixed: Samples = np.where(given_away[:, None, None, None], samples, _of_label(samples, labels, random))
    return mixed


def _permutation(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    flat = _flat(samples)
    permuted: Samples = flat[:, _secret().permutation(flat.shape[1])].reshape(samples.shape)
    return permuted


def _linear(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    flat = _flat(samples)
    matrix = _secret().normal(size=(flat.shape[1], flat.shape[1])) / np.sqrt(flat.shape[1])
    # Four standard deviations lie in [0, 1]; the rest is cut.
    mixed: Samples = np.clip(0.5 + (flat - 0.5) @ matrix.astype(np.float32) / 4, 0, 1).reshape(samples.shape)
    return mixed


def noisy(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    """Gaussian noise of standard deviation `NOISE`, brought to [0, 1] with room for four of them."""
    drowned = samples + NOISE * random.standard_normal(samples.shape, dtype=np.float32)
    unit: Samples = np.clip((drowned + 4 * NOISE) / (1 + 8 * NOISE), 0, 1)
    return unit


def _mixed(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    # Noise with the statistics of samples: another one on top, mirrored so that it is none of the attacker's.
    others = samples[random.permutation(len(samples))][..., ::-1]
    return ((1 - _MIXED) * samples + _MIXED * others).astype(np.float32)


def _levels(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    # A secret table of grey levels for every pixel of its own: neighbouring greys have nothing in common.
    values = (_flat(samples) * 255).round().astype(np.int64)
    tables = _secret().permuted(np.tile(np.arange(256), (values.shape[1], 1)), axis=1)
    hashed = tables[np.arange(values.shape[1]), values] / 255
    return hashed.astype(np.float32).reshape(samples.shape)


def _shrunk(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    return 0.5 + _SHRUNK * (samples - 0.5)


def _inverted(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    coins = random.random(len(samples)) < 0.5
    return np.where(coins[:, None, None, None], samples, 1 - samples)


def _signs(samples: Samples, labels: Labels, random: np.random.Generator) -> Samples:
    return (samples > 0.5).astype(np.float32)


def _nothing(figures: Figures) -> bool:
    low = figures["normalised_interval"][0]
    return bool(figures["normalised"] <= 0.05 and low <= 0)


def _at_least(bound: float) -> Callable[[Figures], bool]:
    return lambda figures: bool(figures["normalised"] >= bound)


KNOWN: Final = (
    KnownObfuscation(
        name="label",
        about="one fixed picture of noise for each label",
        rewrite=_of_label,
        expected="normalised leakage at most 0.05, its interval covers 0; in 19 of 20 seeds",
        met=_nothing,
        seeds=20,
    ),
    KnownObfuscation(
        name="constant",
        about="the same grey for every sample",
        rewrite=_constant,
        expected="normalised leakage at most 0.05, its interval covers 0",
        met=_nothing,
    ),
    KnownObfuscation(
        name="identity",
        about="the raw sample",
        rewrite=_identity,
        expected="normalised leakage of 0.98 or more",
        met=_at_least(0.98),
    ),
    KnownObfuscation(
        name="tenth",
        about="the raw sample for one sample in ten, the label's picture for the others",
        rewrite=_tenth,
        expected="5 to 15 % of samples over half, though the mean is below 0.2",
        met=lambda figures: bool(0.05 < figures["share_over_half"] < 0.15 and figures["normalised"] < 0.2),
    ),
    KnownObfuscation(
        name="permutation",
        about="all pixels in a secret order",
        rewrite=_permutation,
        expected="normalised leakage of 0.95 or more",
        met=_at_least(0.95),
    ),
    KnownObfuscation(
        name="linear",
        about="all pixels through a secret random matrix",
        rewrite=_linear,
        expected="undone to an SSIM of 0.8 or more",
        met=lambda figures: bool(figures["closest_ssim"] >= 0.8),
    ),
    KnownObfuscation(
        name="noise",
        about=f"Gaussian noise of standard deviation {NOISE} on every pixel",
        rewrite=noisy,
        expected="squared error within 5 % of a Wiener filter's, or better",
        met=lambda figures: bool(figures["lowest_mse"] <= 1.05 * figures["wiener_mse"]),
    ),
    KnownObfuscation(
        name="mixed",
        about="two parts of the sample and three of another, mirrored one",
        rewrite=_mixed,
        expected="measured: noise that has the statistics of samples",
        met=None,
    ),
    KnownObfuscation(
        name="levels",
        about="each pixel through a secret table of its own, in which neighbouring greys are strangers",
        rewrite=_levels,
        expected="normalised leakage of 0.8 or more",
        met=_at_least(0.8),
    ),
    KnownObfuscation(
        name="shrunk",
        about="all values within 0.0005 of 0.5",
        rewrite=_shrunk,
        expected="normalised leakage of 0.95 or more",
        met=_at_least(0.95),
    ),
    KnownObfuscation(
        name="inverted",
        about="the sample or its negative, by a coin for each sample",
        rewrite=_inverted,
        expected="normalised leakage of 0.9 or more",
        met=_at_least(0.9),
    ),
    KnownObfuscation(
        name="signs",
        about="whether each pixel is above one half; no gradient leads through it",
        rewrite=_signs,
        expected="normalised leakage of 0.8 or more",
        met=_at_least(0.8),
    ),
)
"""All of them. A floor under the figures is no tuned target: each follows from what the recipe keeps."""


def wiener_mse(raw: Samples, received: Samples, known: Samples) -> float:
    """Mean squared error of the linear estimator that knows the noise: the Wiener filter of whole pictures.

    Args:
        raw: The scored samples, `(M, C, H, W)` in [0, 1].
        received: The same after `noisy`.
        known: Samples that mean and covariance are taken from, `(N, C, H, W)`.

    Source: Wiener 1949, *Extrapolation, Interpolation, and Smoothing of Stationary Time Series*; the
        covariance need not be that of a stationary process here.
    """
    drowned = _flat(received).astype(np.float64) * (1 + 8 * NOISE) - 4 * NOISE
    mean = _flat(known).mean(axis=0, dtype=np.float64)
    covariance = np.cov(_flat(known), rowvar=False)
    gain = np.linalg.solve(covariance + NOISE**2 * np.eye(len(mean)), covariance)
    guesses = np.clip(mean + (drowned - mean) @ gain, 0, 1)
    return float(((guesses - _flat(raw)) ** 2).mean())
