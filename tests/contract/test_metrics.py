"""Every metric gives one value per sample and tells a good guess from a bad one; one row a metric."""

from typing import Any

import numpy as np
import pytest

from obfnet.core.errors import ShapeError, UnknownNameError
from obfnet.metrics import METRICS

# Name, whether a higher value means more was leaked, the value of a copy.
ROWS = {"ssim": (True, 1.0), "mse": (False, 0.0), "psnr_db": (True, np.inf)}


def guesses(shape: tuple[int, ...]) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(3)
    raw = np.cumsum(random.random((4, *shape)), axis=-1) % 1
    near = np.clip(raw + random.normal(0, 0.02, raw.shape), 0, 1)
    far = random.random(raw.shape)
    return {name: value.astype(np.float32) for name, value in {"raw": raw, "near": near, "far": far}.items()}


def test_every_metric_has_a_row() -> None:
    assert METRICS.names() == list(ROWS)


def test_an_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: ssim, mse, psnr_db"):
        METRICS.get("lpips")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
@pytest.mark.parametrize("name", ROWS)
def test_a_metric_keeps_its_contract(name: str, shape: tuple[int, ...]) -> None:
    metric, (higher, perfect) = METRICS.get(name), ROWS[name]
    data = guesses(shape)
    before = {state: value.copy() for state, value in data.items()}
    copy, near, far = (metric(data["raw"], data[guess]) for guess in ("raw", "near", "far"))
    for values in (copy, near, far):
        assert values.shape == (4,)
        assert values.dtype == np.float64
    np.testing.assert_allclose(copy, perfect, atol=1e-12)
    ordered = (copy, near, far) if higher else (far, near, copy)
    assert (ordered[0] > ordered[1]).all()
    assert (ordered[1] > ordered[2]).all()
    with pytest.raises(ShapeError):
        metric(data["raw"], data["near"][:2])
    assert all(np.array_equal(data[state], before[state]) for state in data)
