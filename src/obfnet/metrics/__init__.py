"""How alike a reconstruction is to the raw sample: one value per sample, never averaged here.

Only what reports aggregates, and it shows the worst sample beside the median.
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
    },
    extra="train",
    entry_points="obfnet.metrics",
)
