"""`obfnet train`: killed at any moment it goes on, and ends with the bytes of a run that nobody disturbed."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from obfnet.core.files import sha256_hex
from tests.e2e.command import kill, obfnet, obfnet_each, start, wait_until

pytestmark = pytest.mark.e2e


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def interrupted(arguments, out):
    """Starts training, kills it before it saves anything, then after it did, then lets it finish."""
    running = start(*arguments, "--out", out)
    running.wait_for("train ")
    kill(running)
    running = start(*arguments, "--out", out)
    saved = out / ".training.safetensors"
    assert wait_until(saved.exists, 60)
    kill(running)
    assert saved.exists(), "it had finished before it was killed: train for longer"
    left = {path.name for path in out.iterdir()}
    finished = obfnet(*arguments, "--out", out)
    assert finished.code == 0, finished.err
    assert "reused" not in finished.err
    assert not saved.exists()
    return left


@pytest.fixture(scope="module")
def resumed(coordinator, tmp_path_factory):
    """Both trainings, killed twice each: folder, and what lay in it after the second kill."""
    folder = tmp_path_factory.mktemp("resumed")
    asked = {"inference": coordinator.train_inference, "pool": coordinator.train_obfuscation}
    with ThreadPoolExecutor() as threads:
        left = {name: threads.submit(interrupted, asked[name], folder / name) for name in asked}
    return {name: (folder / name, left[name].result()) for name in asked}


def test_a_killed_inference_network_is_resumed_to_the_same_bytes(coordinator, resumed):
    folder, left = resumed["inference"]
    assert "inference.json" not in left
    assert content_of(folder) == content_of(coordinator.inference)


def test_a_killed_pool_is_resumed_to_the_same_bytes(coordinator, resumed):
    folder, left = resumed["pool"]
    assert "pool.json" not in left
    assert content_of(folder) == content_of(coordinator.pool)


def test_what_training_says_in_json(coordinator):
    inference, pool = (json.loads(outcome.out) for outcome in coordinator.outcomes)
    assert inference["case"] == "digits"
    assert inference["id"] == sha256_hex((coordinator.inference / "inference.onnx").read_bytes())
    assert inference["validation_accuracy"] > 0.9
    assert pool["public_key"] == coordinator.key
    assert pool["reused"] is False
    assert len(pool["validation_accuracy"]) == 2


def test_training_again_reuses_the_pool_and_says_whom_devices_trust(coordinator):
    outcome = obfnet(*coordinator.train_obfuscation, "--out", coordinator.pool)
    assert outcome.code == 0
    assert "reused" in outcome.err
    assert f"--trust {coordinator.key}" in outcome.out


FILES = ["inference.onnx", "inference.json"]


@pytest.fixture(scope="module")
def refusals(coordinator, tmp_path_factory):
    """Outcomes of training against inference networks with one file cut in half, and against none."""
    parent = tmp_path_factory.mktemp("damaged")
    for name in FILES:
        path = shutil.copytree(coordinator.inference, parent / f"half-{name}") / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    train = ("train", "obfuscation", "--case", "digits", "--out", parent / "pool", "--inference")
    outcomes = obfnet_each({name: (*train, parent / f"half-{name}") for name in [*FILES, "nowhere"]})
    assert not (parent / "pool").exists()
    return outcomes


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_inference_network_is_refused(refusals, name):
    assert refusals[name].code == 1
    assert name in refusals[name].complaint
    assert "train the network again" in refusals[name].complaint


def test_a_missing_inference_network_is_bad_usage(refusals):
    assert refusals["nowhere"].code == 2
    assert "obfnet train inference" in refusals["nowhere"].complaint
