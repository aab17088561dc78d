"""A small fleet measured: the command trains on Ray and without, and says whether the bytes are the same."""

import json
from pathlib import Path

import pytest

from obfnet.bench.fleet import FleetBenchmark, bench_fleet
from obfnet.core.errors import OutputError, TrainingError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.fitting import Schedule
from obfnet.training.inference import train_inference

pytest.importorskip("ray", reason="Ray is not installed")


def test_ray_and_one_process_are_compared(tmp_path: Path) -> None:
    folder = tmp_path / "inference"
    schedule = Schedule(epochs=2, batch_size=64, peak_rate=4e-3)
    train_inference(load_case("digits"), out=folder, architecture="mlp", schedule=schedule)

    work = tmp_path / "work"

    def measured(inference: Path) -> dict:
        return bench_fleet(
            FleetBenchmark(count=2, runs=1, many=0, epochs=0.5),
            case="digits",
            inference=inference,
            work=work,
            data_dir=None,
            progress=Silent(),
            command="bench fleet",
        )

    result = measured(folder)
    assert json.loads(json.dumps(result)) == result
    assert result["same_bytes"] is True
    assert result["throughput_ratio_median"] == result["seconds"]["local"][0] / result["seconds"]["ray"][0]
    assert (len(result["seconds"]["ray"]), "time_ratio" in result) == (1, False)
    with pytest.raises(OutputError, match="some, which would be reused"):
        measured(folder)
    work = tmp_path / "other"
    with pytest.raises(TrainingError, match="obfnet: expected"):
        measured(tmp_path / "nothing")
