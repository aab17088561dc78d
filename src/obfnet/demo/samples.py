"""What the demo's report shows of the samples: pictures in rows, clips to listen to, and sizes."""

from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from obfnet.bundle import Pool
from obfnet.core.errors import DataError
from obfnet.core.spec import as_unit
from obfnet.data.case import Dataset
from obfnet.data.mfcc import coefficients
from obfnet.data.pictures import jpeg_bytes
from obfnet.data.wav import read_wav
from obfnet.demo.leakage import Leakage, scored_part
from obfnet.demo.limited import Limited
from obfnet.edge import ObfuscationSession
from obfnet.report.demo_page import Clip, Pictures

_PICTURED: Final = 12
_CLIPS: Final = 4
_JPEG_SAMPLES: Final = 200


def sample_bytes(dataset: Dataset) -> dict[str, int]:
    """What a raw sample would take by other means: as 32-bit floats, and for pictures as a JPEG (mean)."""
    sizes = {"float32_tensor": 4 * dataset.spec.input.values}
    if dataset.spec.kind == "pictures" and dataset.spec.input.shape[0] in (1, 3):
        some = dataset.test.samples[: min(_JPEG_SAMPLES, len(dataset.test.labels))]
        sizes["jpeg"] = round(np.mean([len(jpeg_bytes(sample)) for sample in as_unit(some)]))
    return sizes


def picture_samples(
    dataset: Dataset, leakage: Leakage, pool: Pool, limited: Limited | None = None
) -> Pictures:
    """What the report shows of the scored samples.

    Args:
        dataset: Its test samples are shown.
        leakage: Reconstructions and their scores.
        pool: Through each network of it one sample is shown.
        limited: The network with a budget, where there is one.
    """
    test = dataset.test.take(scored_part(dataset.test)).samples[:]
    raw = as_unit(test)
    first = ObfuscationSession(pool.bundles[0])
    order = np.argsort(-leakage.ssim)
    typical = order[np.linspace(0, len(order) - 1, _PICTURED + 2).astype(int)[1:-1]]
    shown = {"worst": (first, leakage, order[:_PICTURED]), "spread": (first, leakage, typical)}
    if limited is not None:
        # The same samples, so that the two can be compared.
        shown["limited"] = (ObfuscationSession(limited.pool.bundles[0]), limited.leakage, typical)
    views = {
        name: {
            "raw": raw[rows],
            "obfuscated": as_unit(session.obfuscate(test[rows])),
            "reconstructed": own.reconstructed[rows],
            "reconstructed_raw": own.reconstructed_raw[rows],
            "floor": own.floor[rows],
        }
        for name, (session, own, rows) in shown.items()
    }
    heard = np.array([order[0], *typical[:: len(typical) // _CLIPS]])
    one = test[typical[_PICTURED // 2] : typical[_PICTURED // 2] + 1]
    each = np.concatenate([as_unit(ObfuscationSession(bundle).obfuscate(one)) for bundle in pool.bundles])
    return Pictures(
        views=views,
        scores={name: own.ssim[rows] for name, (_, own, rows) in shown.items()},
        histogram={"obfuscated": leakage.ssim, "raw": leakage.raw_ssim, "floor": leakage.floor_ssim},
        one_sample={"raw": as_unit(one), "obfuscated": each},
        clips=_clips(dataset, leakage, heard) if dataset.spec.kind == "sounds" else (),
    )


def _clips(dataset: Dataset, leakage: Leakage, rows: npt.NDArray[np.int64]) -> tuple[Clip, ...]:
    test = dataset.test.take(scored_part(dataset.test))
    clips = []
    for row in rows:
        captured = None
        if dataset.original is not None and test.names is not None:
            # The archive may be gone by now: what was decoded from it is in the cache.
            with suppress(DataError):
                captured = read_wav(dataset.original(str(test.names[row])), name=str(test.names[row]))
        clips.append(
            Clip(
                captured=None if captured is None else captured.samples,
                captured_hz=0 if captured is None else captured.rate_hz,
                raw=coefficients(as_unit(test.samples[row : row + 1])[0]),
                reconstructed=coefficients(leakage.reconstructed[row]),
                score=float(leakage.ssim[row]),
            )
        )
    return tuple(clips)
