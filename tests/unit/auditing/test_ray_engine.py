"""The attacks of an audit, wherever they run: the same document, and nothing again that is there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from obfnet.auditing.pairs import write_pairs
from obfnet.auditing.ray_engine import RayEngine
from obfnet.auditing.run import audit
from obfnet.core.errors import MissingExtraError, UsageError
from obfnet.data.cases import load_case
from obfnet.fitting import Schedule
from obfnet.training.inference import train_inference
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from tests.unit.auditing.on_ray import KEY, audited
from tests.unit.auditing.recorded import recorded

ROOT = Path(__file__).parents[3]
SCHEDULE = Schedule(epochs=1, batch_size=64, peak_rate=4e-3)
ATTACKS = "ridge,decoder,pca-neighbour"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As a task of Ray has, here and in the processes that are begun: sums of floats depend on it."""
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(former)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    digits, folder = load_case("digits"), tmp_path_factory.mktemp("pool")
    network = train_inference(digits, out=folder / "inference", architecture="mlp", schedule=SCHEDULE)
    settings = PoolSettings(hidden=12, count=2, schedule=SCHEDULE)
    train_obfuscation(digits, network, out=folder / "pool", key=KEY, settings=settings)
    return folder / "pool"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, arrays = tmp_path_factory.mktemp("pairs") / "pairs.npz", recorded(600)
    write_pairs(path, arrays["raw"], arrays["obfuscated"], arrays["label"])
    return path


@pytest.fixture(scope="module")
def local(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pool's audit by this process."""
    out = tmp_path_factory.mktemp("local") / "audit"
    audited(pool, out, ATTACKS)
    return out


def command(*arguments: str | Path | int) -> list[str]:
    pytest.importorskip("ray", reason="Ray is not installed")
    return [sys.executable, "-m", "tests.unit.auditing.on_ray", *map(str, arguments)]


def on_ray(*arguments: str | Path | int) -> list[str]:
    """What an audit on Ray says."""
    done = subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def document(out: Path) -> dict[str, Any]:
    """What an audit found, but for times."""
    found: dict[str, Any] = json.loads((out / "audit.json").read_text())
    return found | {"attacks": [attack | {"seconds": None} for attack in found["attacks"]]}


def test_a_killed_driver_and_killed_workers_change_nothing(pool: Path, local: Path, tmp_path: Path) -> None:
    trials, floor_and_two = tmp_path / "audit" / "trials", 3
    first = subprocess.Popen(command(pool, tmp_path / "audit", ATTACKS), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 300
        while len(list(trials.glob("*.npz"))) < floor_and_two:
            assert first.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in trials.glob("*.npz")}
    said = on_ray(pool, tmp_path / "audit", ATTACKS, 2)
    assert said.count("killed") == 2
    assert any("3 of 3 attacks done, 0 trials at work" in line for line in said)
    assert document(tmp_path / "audit") == document(local)
    # A driver that is killed while it writes may leave a draft, which nobody reads.
    finished, wanted = ({path.name for path in folder.glob("*.npz")} for folder in (trials, local / "trials"))
    assert finished == wanted
    assert {name: (trials / name).stat().st_mtime_ns for name in kept} == kept


def test_recorded_pairs_and_attacks_that_fault_are_the_same(pairs: Path, tmp_path: Path) -> None:
    # Pairs have no network for an inversion; their samples lie in a file.
    attacks = "inversion,ridge,value-table"
    audited(pairs, tmp_path / "local", attacks)
    said = on_ray(pairs, tmp_path / "ray", attacks)
    assert document(tmp_path / "ray") == document(tmp_path / "local")
    reasons = {attack["name"]: attack["reason"] for attack in document(tmp_path / "ray")["attacks"]}
    assert "it did not come to an end" in reasons["inversion"]
    assert any(line.startswith("inversion is not counted") for line in said)


def test_what_is_finished_needs_no_cluster(
    pool: Path, local: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, files = document(local), len(os.listdir(local / "trials"))
    monkeypatch.setattr("obfnet.auditing.ray_engine.cluster", None)
    audited(pool, local, ATTACKS, RayEngine())
    assert document(local) == before
    assert len(os.listdir(local / "trials")) == files
    assert "decoder: attacked before" in capsys.readouterr().out


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port"])
def test_where_no_cluster_listens_nothing_is_begun(pairs: Path, tmp_path: Path, address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(UsageError, match=r"a Ray cluster at .*127"):
        audit(pairs, out=tmp_path / "audit", engine=RayEngine(address=address))
    assert not (tmp_path / "audit").exists()


def test_without_ray_it_says_what_to_install(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"obfnet\[ray\]"):
        audit(pairs, out=tmp_path / "audit", engine=RayEngine())
    assert not (tmp_path / "audit").exists()
