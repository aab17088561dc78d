"""A device fetches one shard of a release, and nothing old, broken or revoked."""

import gzip
import http.server
import math
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from obfnet import Device
from obfnet.bundle import Trust, read_pool, write_pool
from obfnet.bundle.publishing import publish, revoke
from obfnet.core.errors import BundleError, DataError, OutputError, UntrustedKeyError, UsageError
from obfnet.edge.fetch import fetch_pool
from tests.malformed.corpus import KEY, NETWORK_ID, OTHER_KEY, PUBLIC_KEY
from tests.malformed.pools import named_bundle
from tests.unit.bundle.test_release import somebody_elses_shards

COUNT = 8


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_pool(folder / "pool", [named_bundle(f"o{seed}", seed=seed) for seed in range(COUNT)], KEY)
    publish([folder / "pool"], folder / "release", KEY, shard_size=2)
    return folder / "release"


@pytest.fixture
def release(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "release"))


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(explicit=(PUBLIC_KEY,), releases=tmp_path / "known" / "releases.json")


@pytest.fixture
def server(release: Path) -> Iterator[tuple[str, list[str]]]:
    """Any server of files, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(release.parent))
    ) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/release", asked
        running.shutdown()
        thread.join()


def test_one_shard_comes_over_http_and_says_what_it_gave_away(
    server: tuple[str, list[str]], tmp_path: Path, trust: Trust
) -> None:
    url, asked = server
    got = fetch_pool(url, tmp_path / "pool", trust=trust, inference_network_id=NETWORK_ID)
    assert (len(got.pool.bundles), got.shards, got.given_away_bits) == (2, 1, 2.0)
    assert len(read_pool(tmp_path / "pool", trust=trust).bundles) == 2
    # The index, a list and two bundles: nothing of the other shards.
    assert len(asked) == 4
    assert len({path.split("/")[3] for path in asked[1:]}) == 1


def test_shards_that_are_thrown_away_give_less_away(
    server: tuple[str, list[str]], tmp_path: Path, trust: Trust
) -> None:
    url, asked = server
    got = fetch_pool(url, tmp_path / "pool", trust=trust, shards=3)
    assert got.given_away_bits == pytest.approx(math.log2(4 / 3))
    assert len(got.pool.bundles) == 2
    assert len({path.split("/")[3] for path in asked[1:]}) == 3
    with pytest.raises(UsageError, match="1 to 4 shards"):
        fetch_pool(url, tmp_path / "other", trust=trust, shards=5)


def test_which_shard_it_is_nobody_can_predict(release: Path, tmp_path: Path, trust: Trust) -> None:
    counts: Counter[str] = Counter()
    for attempt in range(40):
        got = fetch_pool(release, tmp_path / f"pool{attempt}", trust=trust, shards=2)
        counts[got.pool.bundles[0].sha256] += 1
    # Four shards; that one is never taken in 40 tries has a chance of 4 x 0.75^40, below 1 in 20,000.
    assert len(counts) == 4


def test_what_a_device_has_stays_while_it_is_in_the_release(
    release: Path, tmp_path: Path, trust: Trust
) -> None:
    first = fetch_pool(release, tmp_path / "pool", trust=trust)
    again = fetch_pool(release, tmp_path / "pool", trust=trust)
    assert (again.shards, again.given_away_bits) == (0, 0.0)
    assert [one.sha256 for one in again.pool.bundles] == [one.sha256 for one in first.pool.bundles]


def test_a_device_that_was_offline_refuses_what_was_revoked_once_it_has_heard(
    release: Path, tmp_path: Path, trust: Trust
) -> None:
    first = fetch_pool(release, tmp_path / "pool", trust=trust)
    gone = first.pool.bundles[0].name
    shutil.copytree(tmp_path / "pool", tmp_path / "copy")
    newer = revoke(release, [gone], KEY)
    # Offline: it cannot know.
    Device(tmp_path / "pool", "http://127.0.0.1:9", trust=trust).close()
    second = fetch_pool(release, tmp_path / "pool", trust=trust)
    assert second.release.version == newer.version == 2
    assert gone not in [bundle.name for bundle in second.pool.bundles]
    later = Trust(explicit=(PUBLIC_KEY,), releases=trust.known_releases.path)
    Device(tmp_path / "pool", "http://127.0.0.1:9", trust=later).close()
    with pytest.raises(BundleError, match="obfnet pool fetch") as caught:
        Device(tmp_path / "copy", "http://127.0.0.1:9", trust=later)
    assert caught.value.step == "revoked"


def test_an_older_release_is_refused_and_the_pool_stays(release: Path, tmp_path: Path, trust: Trust) -> None:
    shutil.copytree(release, tmp_path / "old")
    revoke(release, ["o1"], KEY)
    fetch_pool(release, tmp_path / "pool", trust=trust)
    before = sorted(path.read_bytes() for path in (tmp_path / "pool").iterdir())
    with pytest.raises(BundleError, match="version 1") as caught:
        fetch_pool(tmp_path / "old", tmp_path / "pool", trust=trust)
    assert caught.value.step == "release-rollback"
    assert sorted(path.read_bytes() for path in (tmp_path / "pool").iterdir()) == before


def test_revocations_are_remembered_even_if_no_shard_can_be_had(
    release: Path, tmp_path: Path, trust: Trust
) -> None:
    fetch_pool(release, tmp_path / "pool", trust=trust)
    revoke(release, [f"o{seed}" for seed in range(COUNT)], KEY)
    with pytest.raises(BundleError, match="all of them revoked"):
        fetch_pool(release, tmp_path / "pool", trust=trust)
    with pytest.raises(BundleError, match="its coordinator revoked"):
        read_pool(tmp_path / "pool", trust=Trust(explicit=trust.explicit, releases=trust.releases))


def test_a_stranger_cannot_revoke_what_others_have_signed(
    published: Path, release: Path, tmp_path: Path
) -> None:
    # Nobody is trusted yet, so that the first good pool counts: this one holds none.
    unknown = Trust(store=tmp_path / "trusted.json", releases=tmp_path / "known.json")
    revoke(release, [f"o{seed}" for seed in range(COUNT)], KEY)
    with pytest.raises(BundleError, match="all of them revoked"):
        fetch_pool(release, tmp_path / "pool", trust=unknown)
    assert not (tmp_path / "known.json").exists()
    assert not (tmp_path / "trusted.json").exists()
    fetch_pool(published, tmp_path / "pool", trust=unknown)
    assert unknown.is_known(PUBLIC_KEY)
    write_pool(tmp_path / "theirs", [named_bundle("o1", seed=1, key=OTHER_KEY)], OTHER_KEY)
    publish([tmp_path / "theirs"], tmp_path / "rival", OTHER_KEY)
    with pytest.raises(UntrustedKeyError):
        fetch_pool(tmp_path / "rival", tmp_path / "pool", trust=unknown)


@pytest.mark.parametrize("spoiled", ["index", "list", "bundle", "lost bundle"])
def test_a_broken_release_leaves_the_device_as_it_was(
    spoiled: str, release: Path, tmp_path: Path, trust: Trust
) -> None:
    for shard in (release / "shards").iterdir():
        file = shard / "pool.json" if spoiled == "list" else min(shard.glob("*.obfnet"))
        if spoiled == "lost bundle":
            file.unlink()
        elif spoiled != "index":
            file.write_bytes(file.read_bytes()[:-1] + b"?")
    if spoiled == "index":
        (release / "release.json").write_bytes((release / "release.json").read_bytes()[:100])
    with pytest.raises((BundleError, DataError)):
        fetch_pool(release, tmp_path / "pool", trust=trust)
    assert {path.name for path in tmp_path.iterdir()} <= {"release", "known"}


def test_a_stranger_cannot_sign_a_list_of_somebody_elses_pools(release: Path, tmp_path: Path) -> None:
    unknown = Trust(store=tmp_path / "trusted.json", releases=tmp_path / "known.json")
    shutil.copytree(release, tmp_path / "evil")
    somebody_elses_shards(tmp_path / "evil")
    with pytest.raises(BundleError, match="a shard signed by the release's key"):
        fetch_pool(tmp_path / "evil", tmp_path / "pool", trust=unknown)
    assert not (tmp_path / "trusted.json").exists()
    assert not (tmp_path / "known.json").exists()
    fetch_pool(release, tmp_path / "pool", trust=unknown)


def test_a_pool_is_replaced_by_its_own_release_only(
    published: Path, release: Path, tmp_path: Path, trust: Trust
) -> None:
    fetch_pool(release, tmp_path / "pool", trust=trust)
    before = sorted(path.name for path in (tmp_path / "pool").iterdir())
    publish([published.parent / "pool"], tmp_path / "other", KEY)
    with pytest.raises(UsageError, match="which the pool in"):
        fetch_pool(tmp_path / "other", tmp_path / "pool", trust=trust)
    # A trained pool is nobody's to replace.
    with pytest.raises(OutputError, match="a pool that was fetched"):
        fetch_pool(release, published.parent / "pool", trust=trust)
    (tmp_path / "pool" / "notes.txt").write_text("mine")
    revoke(release, ["o1"], KEY)
    with pytest.raises(OutputError, match=r"notes\.txt"):
        fetch_pool(release, tmp_path / "pool", trust=trust)
    assert sorted(path.name for path in (tmp_path / "pool").iterdir()) == sorted([*before, "notes.txt"])


def test_what_a_killed_fetch_left_is_put_right(release: Path, tmp_path: Path, trust: Trust) -> None:
    fetch_pool(release, tmp_path / "pool", trust=trust)
    (tmp_path / "pool").rename(tmp_path / ".pool.old-0123456789abcdef")
    (tmp_path / ".pool.new-0123456789abcdef").mkdir()
    again = fetch_pool(release, tmp_path / "pool", trust=trust)
    assert (again.shards, len(again.pool.bundles)) == (0, 2)
    assert [path.name for path in tmp_path.glob(".pool.*")] == []


@pytest.mark.parametrize("answer", [404, 302, "silence", "endless", "packed"])
def test_a_server_that_does_not_serve_ends_in_one_line(
    answer: int | str, tmp_path: Path, trust: Trust
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if answer == "silence":
            raise httpx.ConnectTimeout("no answer", request=request)
        if answer == "packed":
            data = gzip.compress(b"x" * 5_000_000)
            return httpx.Response(200, content=data, headers={"content-encoding": "gzip"})
        if answer == "endless":
            return httpx.Response(200, content=(b"x" * 65_536 for _ in range(1_000_000)))
        return httpx.Response(int(answer), headers={"location": "http://elsewhere/"})

    with pytest.raises(DataError, match="a file of the release at http://host/release"):
        fetch_pool("http://host", tmp_path / "pool", trust=trust, transport=httpx.MockTransport(handle))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(release: Path, tmp_path: Path, trust: Trust) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(OutputError, match="a pool that was fetched"):
        fetch_pool(release, tmp_path / "mine", trust=trust)
    with pytest.raises(BundleError, match="the inference network 000000"):
        fetch_pool(release, tmp_path / "pool", trust=trust, inference_network_id="0" * 64)
    assert np.array([path.name for path in (tmp_path / "mine").iterdir()]).tolist() == ["notes.txt"]
