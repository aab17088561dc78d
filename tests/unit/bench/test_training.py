"""The training benchmark on the bundled digits: what its result holds, and that slices do not disturb it."""

import pytest

from obfnet.bench.training import TrainingBenchmark, bench_training
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.fitting import Schedule
from obfnet.training.inference import train_inference


@pytest.fixture(scope="module")
def digits():
    return load_case("digits")


@pytest.fixture(scope="module")
def network(digits, tmp_path_factory):
    return train_inference(
        digits, out=tmp_path_factory.mktemp("inference"), architecture="mlp", schedule=Schedule(epochs=8)
    )


def measured(digits, network, folder):
    benchmark = TrainingBenchmark(count=2, epochs=6, seed=3)
    return bench_training(
        benchmark, digits, network, folder=folder, progress=Silent(), command="obfnet bench"
    )


def test_the_ratio_is_the_pool_over_the_plain_runs(digits, network, tmp_path):
    result = measured(digits, network, tmp_path / "pool")
    plain = result["seconds"]["plain_runs_estimated"]["median"]
    assert result["ratio"]["median"] == pytest.approx(result["seconds"]["pool"] / plain, rel=0.2, abs=0.02)
    assert len(result["accuracy"]["obfuscated_each"]) == 2
    assert result["accuracy"]["obfuscated_worst"] <= result["accuracy"]["obfuscated"]
    assert result["accuracy"]["obfuscated"] > 0.5
    assert result["plain_run"]["step_ms"]["n"] >= 2
    assert not result["reused"]


def test_timing_a_plain_run_in_between_does_not_change_the_pool(digits, network, tmp_path, monkeypatch):
    quiet = measured(digits, network, tmp_path / "quiet")
    monkeypatch.setattr("obfnet.bench.training._SLICE_EVERY_S", 0.0)
    busy = measured(digits, network, tmp_path / "busy")
    assert busy["plain_run"]["step_ms"]["n"] > quiet["plain_run"]["step_ms"]["n"]
    assert busy["accuracy"]["obfuscated_each"] == quiet["accuracy"]["obfuscated_each"]
