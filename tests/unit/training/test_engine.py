"""The parts of a pool, wherever they are trained: each once, the same bytes, and none again that is there."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.core.errors import MissingExtraError, TrainingError, UsageError
from obfnet.core.progress import Silent
from obfnet.data.cases import Dataset
from obfnet.fitting import Schedule
from obfnet.training import engine
from obfnet.training.inference import InferenceNetwork
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from obfnet.training.ray_engine import CaseSource, RayEngine

ROOT = Path(__file__).parents[3]
POOL = PoolSettings(hidden=12, count=5, schedule=Schedule(epochs=1, batch_size=64, peak_rate=4e-3), seed=3)


class Stopping:
    """Trains like the engine that it holds, and stops after some parts as if it had been killed."""

    def __init__(self, inner: engine.Engine, *, after: int) -> None:
        self.inner, self.after, self.delivered = inner, after, list[int]()

    def train(self, works: Sequence[engine.Work]) -> None:
        self.inner.train([replace(work, deliver=partial(self.counted, work.deliver)) for work in works])

    def counted(
        self, deliver: engine.Deliver, numbers: range, networks: Sequence[engine.TrainedNetwork]
    ) -> None:
        if len(self.delivered) == self.after:
            raise KeyboardInterrupt
        deliver(numbers, networks)
        self.delivered.append(numbers.start)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, bytes]:
    """The pool of five that one process trains in parts of two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "PART", 2)
        folder = tmp_path_factory.mktemp("whole")
        train_obfuscation(digits, inference, out=folder, key=key, settings=POOL)
    return files(folder)


def test_what_comes_out_does_not_depend_on_the_parts(
    whole: dict[str, bytes],
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "PART", 3)
    train_obfuscation(digits, inference, out=tmp_path, key=key, settings=POOL)
    assert files(tmp_path) == whole
    assert len([name for name in whole if name.endswith(".obfnet")]) == 5


def test_only_what_was_missing_is_trained_after_a_stop(
    whole: dict[str, bytes],
    digits: Dataset,
    inference: InferenceNetwork,
    key: Ed25519PrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "PART", 2)
    local = engine.Local(dataset=digits, inference=inference, progress=Silent())
    first, second = Stopping(local, after=2), Stopping(local, after=9)
    with pytest.raises(KeyboardInterrupt):
        train_obfuscation(digits, inference, out=tmp_path, key=key, settings=POOL, engine=first)
    assert not (tmp_path / "pool.json").exists()
    # One of the two was damaged meanwhile: it is trained again.
    damaged = min((tmp_path / ".parts" / "00002").glob("*.obfnet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    train_obfuscation(digits, inference, out=tmp_path, key=key, settings=POOL, engine=second)
    assert (first.delivered, second.delivered) == ([0, 2], [2, 4])
    assert files(tmp_path) == whole


def on_ray(inference: InferenceNetwork, out: Path, kills: int) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("ray", reason="Ray is not installed")
    command = [sys.executable, "-m", "tests.unit.training.on_ray", str(inference.folder), str(out)]
    return subprocess.run(
        [*command, str(kills)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_on_ray_the_same_bytes_come_out_though_workers_are_killed(
    whole: dict[str, bytes], inference: InferenceNetwork, tmp_path: Path
) -> None:
    done = on_ray(inference, tmp_path, 2)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said.count("killed") == 2
    assert sorted(line for line in said if line.startswith("delivered")) == [
        f"delivered {start}" for start in (0, 2, 4)
    ]
    assert files(tmp_path) == whole


def test_what_went_wrong_in_a_worker_is_what_the_driver_says(
    inference: InferenceNetwork, tmp_path: Path
) -> None:
    done = on_ray(inference, tmp_path, -1)
    assert done.returncode == 1
    assert "expected the driver's inference network (000000000000) on every worker" in done.stderr
    assert not (tmp_path / "pool.json").exists()


def test_without_ray_it_says_what_to_install(
    inference: InferenceNetwork,
    digits: Dataset,
    key: Ed25519PrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    missing = RayEngine(source=CaseSource.of(digits, inference, case="digits"), progress=Silent())
    with pytest.raises(MissingExtraError, match="ray"):
        train_obfuscation(digits, inference, out=tmp_path, key=key, settings=POOL, engine=missing)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port"])
def test_where_no_cluster_listens_it_says_so_at_once(
    address: str,
    inference: InferenceNetwork,
    digits: Dataset,
    key: Ed25519PrivateKey,
    tmp_path: Path,
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    away = RayEngine(
        source=CaseSource.of(digits, inference, case="digits"), address=address, progress=Silent()
    )
    begun = time.monotonic()
    with pytest.raises(UsageError, match=r"a Ray cluster at .*127"):
        train_obfuscation(digits, inference, out=tmp_path, key=key, settings=POOL, engine=away)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise ConnectionError('no')", "a Ray cluster at there"),
        ("raise ConnectionError('no') from RuntimeError('AuthenticationError')", "a demand for its token"),
        ("raise RuntimeError('Version mismatch: 2.1 and 2.2\\nmore')", "Version mismatch: 2.1 and 2.2"),
    ],
)
def test_a_cluster_that_cannot_be_had_ends_in_one_line(
    fault: str,
    said: str,
    inference: InferenceNetwork,
    digits: Dataset,
    key: Ed25519PrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A version mismatch needs two installations: the fault is played.
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "ray.py").write_text(f"def init(**_):\n    {fault}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "fake"))
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    away = RayEngine(
        source=CaseSource.of(digits, inference, case="digits"), address="there", progress=Silent()
    )
    with pytest.raises(Exception, match=said) as caught:
        train_obfuscation(digits, inference, out=tmp_path / "pool", key=key, settings=POOL, engine=away)
    assert not isinstance(caught.value, TrainingError)
    assert "\n" not in str(caught.value)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
