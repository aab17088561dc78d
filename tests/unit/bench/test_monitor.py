"""The benchmark of the monitor on the bundled digits: few false alarms, and every change seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from obfnet.bench.monitor import MonitorBenchmark, bench_monitor
from obfnet.bundle import Trust, load_or_create_coordinator_key, public_key_text
from obfnet.core.errors import UsageError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.fitting import Schedule
from obfnet.training.inference import train_inference
from obfnet.training.obfuscation import PoolSettings, train_obfuscation


def test_changes_are_seen_and_little_else(tmp_path: Path) -> None:
    digits, key = load_case("digits"), load_or_create_coordinator_key(tmp_path / "key")
    networks = tuple(
        train_inference(
            digits, out=tmp_path / f"{seed}", architecture="mlp", schedule=Schedule(epochs=6), seed=seed
        )
        for seed in (0, 1)
    )
    settings = PoolSettings(hidden=16, count=4, schedule=Schedule(epochs=4))
    train_obfuscation(digits, networks[0], out=tmp_path / "pool", key=key, settings=settings)
    trust = Trust(explicit=(public_key_text(key),))

    def measured():
        return bench_monitor(
            *(MonitorBenchmark(windows=40), digits, networks, tmp_path / "pool"),
            trust=trust,
            progress=Silent(),
            command="obfnet bench monitor",
        )

    result = measured()
    assert (result["window"], result["samples"], result["reference"]) == (500, 1_797, 1_000)
    assert result["networks"] == 4
    assert result["false_alarms"]["windows"] == 40
    assert result["false_alarms"]["alarms"] <= 1
    assert 0.03 < result["false_alarms"]["rate_at_most"] < 0.13
    assert set(result["changes"]) == {"inverted", "blurred", "another model 1"}
    for name, seen in result["changes"].items():
        assert seen["seen_by_probes"] == (1.0 if name.startswith("another") else 0.0)
    assert result["changes"]["inverted"]["seen"] == result["changes"]["blurred"]["seen"] == 1.0
    assert measured()["false_alarms"] == result["false_alarms"]


def test_a_case_of_few_samples_is_refused(tmp_path: Path) -> None:
    digits = load_case("digits")
    network = train_inference(digits, out=tmp_path / "i", architecture="mlp", schedule=Schedule(epochs=1))
    key = load_or_create_coordinator_key(tmp_path / "key")
    settings = PoolSettings(hidden=16, count=1, schedule=Schedule(epochs=1))
    train_obfuscation(digits, network, out=tmp_path / "pool", key=key, settings=settings)

    few = replace(digits, train=digits.train.take(np.arange(100)))
    with pytest.raises(UsageError, match="at least 1500 samples"):
        bench_monitor(
            *(MonitorBenchmark(), few, (network,), tmp_path / "pool"),
            trust=Trust(explicit=(public_key_text(key),)),
            progress=Silent(),
            command="obfnet bench monitor",
        )
