"""`obfnet monitor` against a real server: learns, finds nothing, finds other samples and another model."""

import json
import signal

import numpy as np
import pytest

from obfnet.data.cases import load_case
from tests.e2e.command import obfnet, start

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def pixels():
    """All digits as uint8 in a random order, `(N, 1, 8, 8)`."""
    digits = load_case("digits")
    samples = np.concatenate([split.samples[:] for split in (digits.train, digits.validation, digits.test)])
    return np.round(np.random.default_rng(0).permutation(samples) * 255).astype(np.uint8)


def served(inference):
    running = start("serve", inference, "--port", "0", "--grpc-port", "0", "--json")
    return running, json.loads(running.wait_for('"url"'))["url"]


def test_what_is_usual_is_learnt_and_changes_are_found(coordinator, pixels, tmp_path):
    running, url = served(coordinator.inference)
    common = ("--reference", tmp_path / "monitor.json", "--trust", coordinator.key, "--window", "200")

    def monitor(url, samples, *options):
        np.save(tmp_path / "samples.npy", samples)
        asked = ("monitor", "--pool", coordinator.pool, "--url", url, "--input", tmp_path / "samples.npy")
        return obfnet(*asked, *common, *options)

    few = monitor(url, pixels[:500], "--learn")
    assert few.code == 2
    assert "at least 1000 samples" in few.complaint
    assert not (tmp_path / "monitor.json").exists()
    learnt = monitor(url, pixels[:1_200], "--learn")
    assert learnt.code == 0, learnt.err
    assert "learnt from 1200 samples" in learnt.out

    usual = monitor(url, pixels[1_200:], "--json", "--out", tmp_path / "said.json")
    assert usual.code == 0, usual.err
    said = json.loads(usual.out)
    assert said == json.loads((tmp_path / "said.json").read_text())
    assert (said["alarms"], len(said["windows"]), said["left"]) == (0, 2, len(pixels) - 1_600)
    assert all(one["probe_change"] < 1e-4 for one in said["windows"])

    inverted = monitor(url, 255 - pixels[1_200:1_400])
    assert inverted.code == 3
    assert "samples are not what they were" in inverted.out

    missing = monitor(url, pixels[:199])
    assert missing.code == 2
    assert "at least 200 samples" in missing.complaint
    running.send(signal.SIGTERM)
    running.finish(20)

    other = tmp_path / "other"
    trained = ("train", "inference", "--case", "digits", "--dtype", "uint8", "--epochs", "10", "--seed", "7")
    assert obfnet(*trained, "--out", other).code == 0
    running, url = served(other)
    changed = monitor(url, pixels[1_200:])
    assert changed.code == 3
    assert "the backend's model has changed" in changed.out
    running.send(signal.SIGTERM)
    running.finish(20)
    dead = monitor(url, pixels[1_200:])
    assert dead.code == 1
    assert "expected a server at" in dead.complaint


def test_a_pool_without_a_reference_says_how_to_make_one(coordinator, pixels, tmp_path):
    np.save(tmp_path / "samples.npy", pixels[:300])
    outcome = obfnet(
        *("monitor", "--pool", coordinator.pool, "--url", "http://127.0.0.1:1"),
        *(
            "--input",
            tmp_path / "samples.npy",
            "--trust",
            coordinator.key,
            "--reference",
            tmp_path / "none.json",
        ),
    )
    assert outcome.code != 0
    assert "--learn" in outcome.complaint
