"""How alike a reconstruction is to the raw sample: one value per sample, never averaged here.

Only what reports aggregates, and it shows the worst sample beside the median. A distance that must be fitted
on the attacker's own samples first is an attacker's: `obfnet.attacks.perceptual`.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.registry import Registry

PerSampleMetric = Callable[..., npt.NDArray[np.float64]]
Samples = npt.NDArray[Any]

METRICS: Final = Registry[PerSampleMetric](
    "metric",
    {
        "ssim": "obfnet.metrics.similarity:ssim",
        "mse": "obfnet.metrics.similarity:mse",
        "psnr_db": "obfnet.metrics.similarity:psnr_db",
        "ms_ssim": "obfnet.metrics.ms_ssim:ms_ssim",
        "log_spectral_distance_db": "obfnet.metrics.sound:log_spectral_distance_db",
        "mel_cepstral_distortion_db": "obfnet.metrics.sound:mel_cepstral_distortion_db",
    },
    extra="train",
    entry_points="obfnet.metrics",
)

SOUND_METRICS: Final = ("log_spectral_distance_db", "mel_cepstral_distortion_db")
"""Those that compare MFCCs and must be told their scale (`low`, `high`, `bands`)."""

DISTANCES: Final = ("mse", *SOUND_METRICS)
"""Those of which a lower value means more alike; of all others a higher one does."""
