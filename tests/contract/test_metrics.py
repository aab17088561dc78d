"""Every metric gives one value per sample and tells a good guess from a bad one; one row a metric."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from obfnet.core.errors import ShapeError, UnknownNameError
from obfnet.data.mfcc import HIGH, LOW, MEL_BANDS
from obfnet.metrics import DISTANCES, METRICS, SOUND_METRICS

PICTURES = ((1, 8, 8), (3, 32, 32))
MFCC_SCALE: dict[str, Any] = {"low": LOW, "high": HIGH, "bands": MEL_BANDS}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Whether a higher value means more was leaked, the value of a copy, what samples it is for."""

    higher: bool
    copy: float
    shapes: tuple[tuple[int, ...], ...] = PICTURES
    options: dict[str, Any] = field(default_factory=dict)


ROWS = {
    "ssim": Row(higher=True, copy=1.0),
    "mse": Row(higher=False, copy=0.0, shapes=(*PICTURES, (30,))),
    "psnr_db": Row(higher=True, copy=np.inf, shapes=(*PICTURES, (30,))),
    "ms_ssim": Row(higher=True, copy=1.0, shapes=((1, 28, 28), (3, 32, 32), (1, 20, 45))),
    "log_spectral_distance_db": Row(higher=False, copy=0.0, shapes=((1, 20, 45),), options=MFCC_SCALE),
    "mel_cepstral_distortion_db": Row(higher=False, copy=0.0, shapes=((1, 20, 45),), options=MFCC_SCALE),
}


def guesses(shape: tuple[int, ...]) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(3)
    raw = np.cumsum(random.random((4, *shape)), axis=-1) % 1
    near = np.clip(raw + random.normal(0, 0.02, raw.shape), 0, 1)
    far = random.random(raw.shape)
    return {name: value.astype(np.float32) for name, value in {"raw": raw, "near": near, "far": far}.items()}


def test_every_metric_has_a_row() -> None:
    assert METRICS.names() == list(ROWS)
    assert {name for name, row in ROWS.items() if row.options} == set(SOUND_METRICS)
    assert {name for name, row in ROWS.items() if not row.higher} == set(DISTANCES)


def test_an_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: ssim, mse, psnr_db, ms_ssim"):
        METRICS.get("lpips")


@pytest.mark.parametrize(
    ("name", "shape"), [(name, shape) for name, row in ROWS.items() for shape in row.shapes]
)
def test_a_metric_keeps_its_contract(name: str, shape: tuple[int, ...]) -> None:
    metric, row = METRICS.get(name), ROWS[name]
    data = guesses(shape)
    before = {state: value.copy() for state, value in data.items()}
    copy, near, far = (metric(data["raw"], data[guess], **row.options) for guess in ("raw", "near", "far"))
    for values in (copy, near, far):
        assert values.shape == (4,)
        assert values.dtype == np.float64
    np.testing.assert_allclose(copy, row.copy, atol=1e-12)
    ordered = (copy, near, far) if row.higher else (far, near, copy)
    assert (ordered[0] > ordered[1]).all()
    assert (ordered[1] > ordered[2]).all()
    with pytest.raises(ShapeError):
        metric(data["raw"], data["near"][:2], **row.options)
    assert all(np.array_equal(data[state], before[state]) for state in data)
