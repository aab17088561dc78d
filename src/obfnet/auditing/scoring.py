"""Which metrics suit a subject's samples, and by which of them leakage is normalised."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.attacks.perceptual import PerceptualDistance
from obfnet.auditing.subject import AuditSubject
from obfnet.auditing.trial import Trial
from obfnet.core.errors import AttackError, UsageError
from obfnet.core.progress import Progress
from obfnet.data.mfcc import HIGH, LOW, MEL_BANDS
from obfnet.metrics import DISTANCES, METRICS, SOUND_METRICS
from obfnet.metrics.ms_ssim import scales

PerSample = npt.NDArray[np.float64]

PERCEPTUAL: Final = "perceptual"
"""Distance of features of a network that the attacker trains on its own samples; in no registry, since it is
fitted first."""

SIMILARITY: Final = "negative_mse"
"""By which leakage is normalised where samples have no windows for SSIM; minus the mean squared error."""

_WINDOW: Final = 7
# A guess that is exact to float16 has no finite PSNR of its own.
_HIGHEST_PSNR_DB: Final = 100.0


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """By what guesses are scored.

    Args:
        metrics: Name to `(raw, reconstructed)` to one value a sample.
        main: The one that leakage is normalised by; higher means more alike.
        floor: The class mean's guesses.
    """

    metrics: Mapping[str, Any]
    main: str
    floor: Trial


def scoring_of(
    subject: AuditSubject,
    names: tuple[str, ...],
    floor: Trial,
    *,
    effort: float,
    seed: int,
    progress: Progress,
) -> Scoring:
    """The metrics of an audit.

    Args:
        subject: What is audited.
        names: Metrics that were asked for; empty takes all that suit the samples.
        floor: The class mean's guesses.
        effort: Share of a standard training of the network behind the perceptual distance.
        seed: Of that network.
        progress: Told of its training.

    Raises:
        UsageError: a metric that does not suit the samples.
    """
    shape = subject.scored.raw.shape[1:]
    windows = len(shape) == 3 and min(shape[1:]) >= _WINDOW
    fitting = [name for name in METRICS.names() if _suits(name, shape, sound=subject.kind == "sounds")]
    for name in names:
        if name not in fitting:
            raise UsageError(
                f"a metric for samples of shape {shape}", name, f"choose among {', '.join(fitting)}"
            )
    metrics: dict[str, Callable[..., PerSample]] = {}
    main = "ssim" if windows else SIMILARITY
    for name in dict.fromkeys([*(("ssim",) if windows else ()), *(names or fitting)]):
        metrics[name] = _bound(name)
    if not windows:
        metrics[SIMILARITY] = _negative_mse
    if not names:
        # Of one label, or of very few samples, no network learns features.
        with suppress(AttackError):
            metrics[PERCEPTUAL] = PerceptualDistance.fit(
                subject.attacker.raw,
                subject.attacker.labels,
                seed=seed,
                progress=progress,
                effort=effort,
            )
    return Scoring(metrics=metrics, main=main, floor=floor)


def is_distance(metric: str) -> bool:
    """Whether a lower value means more alike."""
    return metric in DISTANCES or metric == PERCEPTUAL


def _suits(name: str, shape: tuple[int, ...], *, sound: bool) -> bool:
    if name in SOUND_METRICS:
        return sound
    if name == "ssim":
        return len(shape) == 3 and min(shape[1:]) >= _WINDOW
    if name == "ms_ssim":
        return len(shape) == 3 and scales(shape[1], shape[2]) > 0
    return True


def _bound(name: str) -> Callable[..., PerSample]:
    function: Any = METRICS.get(name)
    if name in SOUND_METRICS:
        return partial(function, low=LOW, high=HIGH, bands=MEL_BANDS)
    if name == "psnr_db":
        return lambda raw, guess: np.minimum(function(raw, guess), _HIGHEST_PSNR_DB)
    bound: Callable[..., PerSample] = function
    return bound


def _negative_mse(raw: Any, guess: Any) -> PerSample:
    distance: PerSample = METRICS.get("mse")(raw, guess)
    return -distance
