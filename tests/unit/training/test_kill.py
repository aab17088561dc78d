"""Training that is killed with `kill -9` and started again ends with the same bytes as one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.core.progress import Silent
from obfnet.data.cases import Dataset
from obfnet.training.inference import InferenceNetwork, train_inference
from obfnet.training.obfuscation import train_obfuscation
from tests.unit.training.interrupted import POOL, SCHEDULE

ROOT = Path(__file__).parents[3]


class Recorder(Silent):
    """Keeps the number of each finished step."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def advance(self, done: int, note: str = "") -> None:
        self.steps.append(done)


def kill_in_step(step: int, kind: str, out: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.training.interrupted", kind, str(out), str(step)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert os.listdir(out) == [".training.safetensors"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_inference_network(digits: Dataset, tmp_path: Path) -> None:
    def train(out: Path, progress: Recorder) -> None:
        train_inference(digits, out=out, architecture="cnn", schedule=SCHEDULE, seed=3, progress=progress)

    whole, resumed = Recorder(), Recorder()
    train(tmp_path / "whole", whole)
    kill_in_step(8, "inference", tmp_path / "killed")
    train(tmp_path / "killed", resumed)
    # The step that was under way when the process died is done again.
    assert whole.steps == list(range(1, 21))
    assert resumed.steps == list(range(8, 21))
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_pool(digits: Dataset, inference: InferenceNetwork, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    resumed = Recorder()
    train_obfuscation(digits, inference, out=tmp_path / "whole", key=key, settings=POOL)
    kill_in_step(13, str(inference.folder), tmp_path / "killed")
    train_obfuscation(digits, inference, out=tmp_path / "killed", key=key, settings=POOL, progress=resumed)
    assert resumed.steps == list(range(13, 21))
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert ".training.safetensors" not in files(tmp_path / "whole")
