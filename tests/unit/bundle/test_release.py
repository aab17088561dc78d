"""Releases: published in shards, versioned, revoked; whatever is broken about one is refused at its step."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from obfnet.bundle import RELEASE_STEPS, Trust, read_bundle, read_pool, verify, write_pool
from obfnet.bundle.keys import sign
from obfnet.bundle.publishing import publish, revoke
from obfnet.bundle.release import Release, read_release
from obfnet.core.errors import BundleError, DataError, OutputError, UntrustedKeyError, UsageError
from obfnet.core.files import canonical_json, sha256_hex
from tests.malformed.corpus import KEY, NETWORK_ID, OTHER_KEY, PUBLIC_KEY
from tests.malformed.pools import named_bundle

COUNT = 7


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pools") / "pool"
    return write_pool(folder, [named_bundle(f"o{seed}", seed=seed) for seed in range(COUNT)], KEY)


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(explicit=(PUBLIC_KEY,), releases=tmp_path / "known" / "releases.json")


def names(release: Release, folder: Path) -> list[str]:
    return sorted(path.stem for shard in release.shards for path in (folder / shard.folder).glob("*.obfnet"))


def remember(release: Release, folder: Path, trust: Trust) -> None:
    digest = sha256_hex((folder / "release.json").read_bytes())
    trust.known_releases.remember(
        release.public_key, release.release, release.version, digest, release.revoked
    )


def test_a_release_holds_every_bundle_in_even_shards_that_are_pools(
    pool: Path, tmp_path: Path, trust: Trust
) -> None:
    out = tmp_path / "release"
    release = publish([pool], out, KEY, shard_size=3)
    assert (release.version, release.count, release.revoked) == (1, COUNT, ())
    assert sorted(shard.bundles for shard in release.shards) == [2, 2, 3]
    assert names(release, out) == [f"o{seed}" for seed in range(COUNT)]
    assert read_release((out / "release.json").read_bytes(), trust=trust) == release
    for shard in release.shards:
        found = read_pool(out / shard.folder, trust=trust, inference_network_id=NETWORK_ID)
        assert len(found.bundles) == shard.bundles
        assert sum(path.stat().st_size for path in (out / shard.folder).iterdir()) == shard.size_bytes
    report = verify(out, trust=trust, inference_network_id=NETWORK_ID)
    assert (report.kind, report.count) == ("release", COUNT)
    assert [check.step for check in report.checks][: len(RELEASE_STEPS)] == list(RELEASE_STEPS)


def test_the_next_version_keeps_the_former_shards_for_one_more(pool: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "release", tmp_path / "other"
    first = publish([pool], out, KEY, shard_size=4)
    write_pool(other, [named_bundle(f"p{seed}", seed=20 + seed) for seed in range(2)], KEY)
    second = publish([other], out, KEY)
    assert (second.release, second.version, second.revoked) == (first.release, 2, ())
    present = {path.name for path in (out / "shards").iterdir()}
    assert present == {shard.folder.split("/")[1] for shard in (*first.shards, *second.shards)}
    third = publish([pool], out, KEY, revoke_former=True)
    assert len(third.revoked) == 2
    assert publish([pool, other], out, KEY).count == COUNT


def test_a_revoked_bundle_is_left_out_and_refused_wherever_it_lies(
    pool: Path, tmp_path: Path, trust: Trust
) -> None:
    out = tmp_path / "release"
    first = publish([pool], out, KEY, shard_size=4)
    read_bundle(pool / "o3.obfnet", trust=trust)
    second = revoke(out, ["o3"], KEY)
    assert second.version == 2
    assert names(second, out) == [f"o{seed}" for seed in range(COUNT) if seed != 3]
    # Only the shard that had it is another one.
    assert len({shard.sha256 for shard in first.shards} & {shard.sha256 for shard in second.shards}) == 1
    remember(second, out, trust)
    # As a command that starts later sees it.
    later = Trust(explicit=(PUBLIC_KEY,), releases=trust.known_releases.path)
    for refuse in (
        lambda: read_bundle(pool / "o3.obfnet", trust=later),
        lambda: read_pool(pool, trust=later),
        lambda: verify(pool, trust=later),
    ):
        with pytest.raises(BundleError, match="its coordinator revoked") as caught:
            refuse()
        assert caught.value.step == "revoked"
    read_bundle(pool / "o4.obfnet", trust=later)


def test_what_was_revoked_once_stays_so_in_later_versions(pool: Path, tmp_path: Path, trust: Trust) -> None:
    out = tmp_path / "release"
    publish([pool], out, KEY)
    gone = sha256_hex((pool / "o1.obfnet").read_bytes())
    assert revoke(out, [gone], KEY).revoked == (gone,)
    again = publish([pool], out, KEY)
    assert again.revoked == (gone,)
    assert "o1" not in names(again, out)
    empty = revoke(out, [f"o{seed}" for seed in range(COUNT) if seed != 1], KEY)
    assert (empty.shards, len(empty.revoked)) == ((), COUNT)
    with pytest.raises(BundleError, match="all of them revoked"):
        verify(out, trust=trust)


def test_a_revocation_that_leaves_a_small_shard_spreads_the_others_anew(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    first = publish([pool], out, KEY, shard_size=4)
    shard = next(one for one in first.shards if one.bundles == 3)
    gone = [path.stem for path in (out / shard.folder).glob("*.obfnet")][:2]
    assert [one.bundles for one in revoke(out, gone, KEY).shards] in ([2, 3], [3, 2])


def test_an_older_version_is_refused_and_so_is_another_of_the_same_number(
    pool: Path, tmp_path: Path, trust: Trust
) -> None:
    out = tmp_path / "release"
    publish([pool], out, KEY)
    shutil.copytree(out, tmp_path / "first")
    remember(revoke(out, ["o1"], KEY), out, trust)
    verify(out, trust=trust)
    with pytest.raises(BundleError, match="version 1") as caught:
        read_release((tmp_path / "first" / "release.json").read_bytes(), trust=trust)
    assert caught.value.step == "release-rollback"
    forked = revoke(tmp_path / "first", ["o2"], KEY)
    with pytest.raises(BundleError, match="another list of the same number"):
        remember(forked, tmp_path / "first", trust)


def index(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "release.json").read_bytes())
    return document


def resign(folder: Path, document: dict[str, Any], *, key: Any = KEY) -> None:
    content = {name: value for name, value in document.items() if name != "signature"}
    signature = sign(key, canonical_json(content), purpose=b"obfnet-release-v1\n").hex()
    (folder / "release.json").write_bytes(canonical_json(content | {"signature": signature}))


def changed(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: resign(folder, index(folder) | changes)


def truncated(folder: Path) -> None:
    (folder / "release.json").write_bytes((folder / "release.json").read_bytes()[:-40])


def written_differently(folder: Path) -> None:
    (folder / "release.json").write_text(json.dumps(index(folder), indent=1))


def unsigned(folder: Path) -> None:
    document = index(folder)
    document.pop("signature")
    (folder / "release.json").write_bytes(canonical_json(document))


def signed_as_a_pool(folder: Path) -> None:
    content = {name: value for name, value in index(folder).items() if name != "signature"}
    signature = sign(KEY, canonical_json(content), purpose=b"obfnet-pool-v1\n").hex()
    (folder / "release.json").write_bytes(canonical_json(content | {"signature": signature}))


def rotated_key(folder: Path) -> None:
    other = "ed25519:" + OTHER_KEY.public_key().public_bytes_raw().hex()
    resign(folder, index(folder) | {"public_key": other}, key=OTHER_KEY)


def another_shard_under_its_name(folder: Path) -> None:
    shards = index(folder)["shards"]
    places = [folder / "shards" / shard["sha256"][:16] for shard in shards]
    shutil.rmtree(places[0])
    shutil.copytree(places[1], places[0])


def somebody_elses_shards(folder: Path) -> None:
    """A stranger's list of the coordinator's own pools: nothing in it is his but the signature."""
    other = "ed25519:" + OTHER_KEY.public_key().public_bytes_raw().hex()
    resign(folder, index(folder) | {"public_key": other, "version": 10**9}, key=OTHER_KEY)


def another_count(folder: Path) -> None:
    shards = [shard | {"bundles": shard["bundles"] + 1} for shard in index(folder)["shards"]]
    resign(folder, index(folder) | {"shards": shards})


def shard_of_another_network(folder: Path) -> None:
    resign(folder, index(folder) | {"inference_network_id": "0" * 64})


def no_index(folder: Path) -> None:
    (folder / "release.json").unlink()
    (folder / "release.json").mkdir()


@pytest.mark.parametrize(
    ("spoil", "step"),
    [
        (no_index, "release-index"),
        (truncated, "release-json"),
        (written_differently, "release-json"),
        (changed(format_version=2), "release-version"),
        (changed(extra=1), "release-fields"),
        (changed(version=0), "release-fields"),
        (changed(version="1"), "release-fields"),
        (changed(release="../../etc"), "release-fields"),
        (changed(revoked=["x"]), "release-fields"),
        (unsigned, "release-signature"),
        (signed_as_a_pool, "release-signature"),
        (rotated_key, "release-key"),
        (changed(shards=[]), "release-empty"),
        (another_shard_under_its_name, "release-shard"),
        (shard_of_another_network, "release-shard"),
        (another_count, "release-shard"),
        (changed(shard_size=0), "release-fields"),
    ],
)
def test_a_hostile_release_fails_at_its_step(
    spoil: Callable[[Path], None], step: str, pool: Path, tmp_path: Path, trust: Trust
) -> None:
    publish([pool], tmp_path / "release", KEY, shard_size=4)
    spoil(tmp_path / "release")
    with pytest.raises(BundleError) as caught:
        verify(tmp_path / "release", trust=trust)
    assert caught.value.step == step
    assert str(caught.value).isprintable()
    assert isinstance(caught.value, UntrustedKeyError) == (step == "release-key")
    assert not trust.known_releases.path.exists()


def test_bad_orders_are_refused_and_nothing_is_published(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    with pytest.raises(UsageError, match="a release in"):
        revoke(out, ["o1"], KEY)
    publish([pool], out, KEY)
    before = (out / "release.json").read_bytes()
    with pytest.raises(UsageError, match="a bundle of the release"):
        revoke(out, ["o99"], KEY)
    with pytest.raises(UsageError, match="shard size of at least 1"):
        publish([pool], out, KEY, shard_size=0)
    with pytest.raises(UntrustedKeyError):
        publish([pool], out, OTHER_KEY)
    write_pool(tmp_path / "same", [named_bundle("o0", seed=44)], KEY)
    with pytest.raises(UsageError, match="1 twice, like 'o0'"):
        publish([pool, tmp_path / "same"], out, KEY)
    assert (out / "release.json").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(OutputError, match="other files"):
        publish([pool], tmp_path / "mine", KEY)


def test_a_broken_file_of_known_releases_stops_every_reader(pool: Path, trust: Trust) -> None:
    trust.known_releases.path.parent.mkdir()
    trust.known_releases.path.write_text('{"format_version": 1}')
    with pytest.raises(DataError, match="known releases"):
        read_pool(pool, trust=trust)


def test_nobody_speaks_in_another_keys_name(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    publish([pool], out, KEY, shard_size=4)
    somebody_elses_shards(out)
    unknown = Trust(store=tmp_path / "trusted.json", releases=tmp_path / "known.json")
    with pytest.raises(BundleError, match="a shard signed by the release's key") as caught:
        verify(out, trust=unknown)
    assert caught.value.step == "release-shard"
    assert not (tmp_path / "trusted.json").exists()


def test_a_key_revokes_its_own_bundles_only(pool: Path, tmp_path: Path, trust: Trust) -> None:
    write_pool(tmp_path / "theirs", [named_bundle("x", seed=1, key=OTHER_KEY)], OTHER_KEY)
    theirs = publish([tmp_path / "theirs"], tmp_path / "rival", OTHER_KEY)
    gone = sha256_hex((pool / "o1.obfnet").read_bytes())
    revoked = revoke(tmp_path / "rival", [gone], OTHER_KEY)
    assert (theirs.version, revoked.revoked) == (1, (gone,))
    remember(revoked, tmp_path / "rival", trust)
    read_bundle(pool / "o1.obfnet", trust=Trust(explicit=(PUBLIC_KEY,), releases=trust.releases))


def test_what_else_lies_in_a_release_is_left_alone(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "shards" / "mine").mkdir(parents=True)
    with pytest.raises(OutputError, match="other files"):
        publish([pool], tmp_path / "data", KEY)
    assert (tmp_path / "data" / "shards" / "mine").is_dir()
    out = tmp_path / "release"
    publish([pool], out, KEY)
    (out / "shards" / "notes").mkdir()
    revoke(out, ["o1"], KEY)
    revoke(out, ["o2"], KEY)
    assert (out / "shards" / "notes").is_dir()


def test_a_damaged_shard_is_written_anew(pool: Path, tmp_path: Path, trust: Trust) -> None:
    out = tmp_path / "release"
    release = publish([pool], out, KEY)
    damaged = min((out / release.shards[0].folder).glob("*.obfnet"))
    damaged.write_bytes(b"x")
    publish([pool], out, KEY)
    verify(out, trust=trust)
