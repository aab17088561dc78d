"""Pools that Ray trains at once are those of one process; workers open model and samples themselves."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from obfnet import protect, sweep
from obfnet.core.errors import UsageError
from obfnet.protecting.settings import ProtectSettings
from obfnet.training import engine
from tests.unit.protecting.on_ray import SETTINGS, SPAN

ROOT = Path(__file__).parents[3]
ON_RAY = ProtectSettings(engine="ray")


def test_the_same_bundles_come_out(
    digits_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    program = torch.export.export(
        copy.deepcopy(digits_model).eval(),
        (torch.rand(4, 1, 8, 8),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    torch.export.save(program, tmp_path / "model.pt2")
    monkeypatch.setattr(engine, "PART", 2)
    sweep(tmp_path / "model.pt2", "digits", out=tmp_path / "here", span=SPAN, settings=SETTINGS)
    done = subprocess.run(
        # A path that only means something where the driver runs.
        [sys.executable, "-m", "tests.unit.protecting.on_ray", "model.pt2", "there"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    bundles = bundles_of(tmp_path / "here")
    assert len(bundles) == 2 * 3
    assert bundles_of(tmp_path / "there") == bundles


def bundles_of(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.obfnet")}


def test_what_lives_in_this_process_only_is_refused(digits_model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a model that workers .*, got Sequential; give package.module"):
        protect(digits_model, "digits", out=tmp_path / "pool", settings=ON_RAY)
    arrays = (np.zeros((60, 8, 8), np.uint8), np.arange(60) % 10)
    with pytest.raises(UsageError, match=r"samples that workers .*, got tuple; give a folder"):
        protect("some:model", arrays, out=tmp_path / "pool", settings=ON_RAY)
    assert not (tmp_path / "pool").exists()


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="an engine of local, ray, got 'spark'"):
        ProtectSettings(engine="spark")
    with pytest.raises(UsageError, match="an address or workers with engine ray"):
        ProtectSettings(workers=2)
