"""A release from the coordinator's command to a device's answer, and back: revoked, refused, fetched anew."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from obfnet.data.cases import load_case
from tests.e2e.command import obfnet, start

pytestmark = pytest.mark.e2e


def test_a_release_is_published_fetched_used_and_revoked(coordinator, tmp_path):
    # A home of its own: what is revoked here must not be refused in other tests.
    home, device = tmp_path / "home", tmp_path / "device"
    shutil.copytree(os.environ["OBFNET_HOME"], home, ignore=shutil.ignore_patterns("cache"))
    release, pool = tmp_path / "release", tmp_path / "pool"

    def as_coordinator(*arguments):
        return obfnet("pool", *arguments, env={"OBFNET_HOME": str(home)})

    def as_device(*arguments):
        return obfnet(*arguments, "--trust", coordinator.key, env={"OBFNET_HOME": str(device)})

    published = as_coordinator("publish", coordinator.pool, "--out", release, "--json")
    assert published.code == 0, published.err
    said = json.loads(published.out)
    assert (said["version"], said["bundles"], len(said["shards"])) == (1, 2, 1)
    verified = as_device("verify", release)
    assert verified.code == 0, verified.err
    assert "release of 2" in verified.out

    fetched = as_device("pool", "fetch", release, "--out", pool)
    assert fetched.code == 0, fetched.err
    assert "given away to the host: 0.0 bits" in fetched.out
    assert "nothing was fetched" in as_device("pool", "fetch", release, "--out", pool).out
    np.save(tmp_path / "digits.npy", np.round(load_case("digits").test.samples[:3] * 255).astype(np.uint8))
    running = start("serve", coordinator.inference, "--port", "0", "--grpc-port", "0", "--json")
    url = json.loads(running.wait_for('"url"'))["url"]
    asked = ("infer", "--url", url, "--input", tmp_path / "digits.npy", "--pool")
    answered = as_device(*asked, pool)
    assert answered.code == 0, answered.err

    once_more = as_coordinator("publish", coordinator.pool, "--out", tmp_path / "another")
    assert ": 2 bundles in 1 shard, 0 revoked" in once_more.out
    gone = min(Path(coordinator.pool).glob("*.obfnet")).stem
    revoked = as_coordinator("revoke", release, gone)
    assert revoked.code == 0, revoked.err
    assert "version 2" in revoked.out
    assert "1 revoked" in revoked.out
    assert as_device("pool", "fetch", release, "--out", pool).code == 0
    assert [path.stem for path in pool.glob("*.obfnet")] != [gone]
    for refused in (as_device(*asked, coordinator.pool), as_device("verify", coordinator.pool)):
        assert refused.code == 1
        assert "its coordinator revoked" in refused.complaint
    assert as_device(*asked, pool).code == 0
    running.send(signal.SIGTERM)
    running.finish(20)
    unknown = as_coordinator("revoke", release, "nobody")
    assert unknown.code == 2
    assert "a bundle of the release" in unknown.complaint
