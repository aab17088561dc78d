"""Publishes pools as a release, and revokes bundles of it: the coordinator's side of a fleet.

The index is replaced last and in one step, so that a killed command leaves the former release whole.
"""

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obfnet.bundle.archive import read_file
from obfnet.bundle.keys import public_key_text
from obfnet.bundle.pool import INDEX, read_pool, write_pool
from obfnet.bundle.reader import Bundle
from obfnet.bundle.release import RELEASE_INDEX, Release, Shard, read_release, release_bytes
from obfnet.bundle.signed import MAX_LIST_BYTES
from obfnet.bundle.steps import refused, shown
from obfnet.bundle.trust import Trust
from obfnet.core.errors import OutputError, UsageError
from obfnet.core.files import sha256_hex, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SHARD_SIZE: Final = 16
"""Bundles of a shard unless another number is asked for: which of them a device uses stays with it."""

_SHARDS: Final = "shards"


def publish(
    pools: Sequence[Path],
    out: Path,
    key: "Ed25519PrivateKey",
    *,
    shard_size: int = SHARD_SIZE,
    revoke_former: bool = False,
) -> Release:
    """Publishes all bundles of some pools, as the first version of a release or as its next.

    Args:
        pools: Folders, each signed by `key`, of one inference network; no two bundles of one name.
        out: Folder of the release, for any server of files; made if it is missing.
        key: The coordinator's.
        shard_size: About how many bundles a shard has, ≥ 1; the last bundles are spread over all.
        revoke_former: Whether bundles of the former version that are not published again are revoked;
            otherwise devices that have them may go on.

    Returns:
        The release, written.

    Raises:
        UsageError: no pools, or a shard size below 1.
        BundleError: a device would refuse a pool, or what is in `out` already.
        OutputError: `out` holds something else, or cannot be written.
    """
    if not pools or shard_size < 1:
        raise UsageError("pools and a shard size of at least 1", f"{len(pools)}, {shard_size}", "correct it")
    trust = Trust(explicit=(public_key_text(key),))
    former = _former(out, key)
    read = [read_pool(folder, trust=trust) for folder in pools]
    if len({pool.inference_network_id for pool in read}) > 1:
        raise UsageError("pools of one inference network", "of several", "make a release for each of them")
    bundles = {bundle.sha256: bundle.path for pool in read for bundle in pool.bundles if bundle.path}
    revoked = set() if former is None else set(former.revoked)
    if former is not None and revoke_former:
        revoked |= set(_bundles_of(former, out, trust)) - set(bundles)
    left = {sha256: path for sha256, path in bundles.items() if sha256 not in revoked}
    network = read[0].inference_network_id
    return _written(out, former, _spread(left, shard_size), revoked, network, key)


def revoke(out: Path, bundles: Sequence[str], key: "Ed25519PrivateKey") -> Release:
    """Publishes the next version of a release without some bundles, which every device refuses from then on.

    Shards without any of them stay byte for byte, so that devices that have one need not fetch another.

    Args:
        out: Folder of the release.
        bundles: Names, or SHA-256 of the files; a SHA-256 may be of a bundle of any former version.
        key: The coordinator's.

    Returns:
        The release, written; with no shards if nothing is left.

    Raises:
        UsageError: no such bundle.
        BundleError: what is in `out` is no release, or a broken one.
        OutputError: `out` cannot be written.
    """
    trust = Trust(explicit=(public_key_text(key),))
    if (former := _former(out, key)) is None:
        raise UsageError(f"a release in {out}", "none", "publish one first, or check the path")
    shards = [_bundles_of_shard(out / shard.folder, trust) for shard in former.shards]
    present = {sha256: path for shard in shards for sha256, path in shard.items()}
    by_name = {path.stem: sha256 for sha256, path in present.items()}
    revoked = set(former.revoked)
    for name in bundles:
        sha256 = by_name.get(name, name)
        if sha256 not in present and not _is_hash(sha256):
            known = ", ".join(sorted(by_name)[:8])
            raise UsageError(f"a bundle of the release ({known})", shown(name), "give its name or SHA-256")
        revoked.add(sha256)
    left = [{one: path for one, path in shard.items() if one not in revoked} for shard in shards]
    left = [shard for shard in left if shard]
    most = max((shard.bundles for shard in former.shards), default=SHARD_SIZE)
    if any(2 * len(shard) < most for shard in left):
        # A device with a small shard has little to pick from, and its host knows which.
        left = _spread({one: path for shard in left for one, path in shard.items()}, most)
    return _written(out, former, left, revoked, former.inference_network_id, key)


def read_shards(folder: Path, *, trust: Trust, inference_network_id: str | None = None) -> tuple[Bundle, ...]:
    """All bundles of a release in a folder, checked as every device would check its own.

    Args:
        folder: Of the release.
        trust: Whose signature counts.
        inference_network_id: SHA-256 of the inference network's ONNX file that they must have been made for.

    Raises:
        BundleError: of a release's, a pool's or a bundle's steps.
        DataError: a file of trusted keys or of known releases is broken.
    """
    release = read_release(_index_of(folder), trust=trust)
    if not release.shards:
        raise refused("release-empty", "bundles in the release", "all of them revoked", "ask its coordinator")
    bundles: list[Bundle] = []
    for shard in release.shards:
        pool = read_pool(folder / shard.folder, trust=trust, inference_network_id=inference_network_id)
        listed = sha256_hex(read_file(folder / shard.folder / INDEX, max_bytes=MAX_LIST_BYTES))
        if (listed, pool.inference_network_id) != (shard.sha256, release.inference_network_id):
            raise refused("release-shard", "the shard that was listed", "another")
        bundles += pool.bundles
    return tuple(bundles)


def _index_of(folder: Path) -> bytes:
    return read_file(folder / RELEASE_INDEX, step="release-index", max_bytes=MAX_LIST_BYTES)


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _former(out: Path, key: "Ed25519PrivateKey") -> Release | None:
    index = out / RELEASE_INDEX
    if index.exists():
        return read_release(_index_of(out), trust=Trust(explicit=(public_key_text(key),)))
    if out.exists() and not out.is_dir():
        raise OutputError(f"a folder at {out}", "a file", "give another --out")
    if out.exists() and any(path.name != _SHARDS for path in out.iterdir()):
        raise OutputError(f"{out} to be empty or a release", "other files", "give another --out")
    return None


def _bundles_of(release: Release, out: Path, trust: Trust) -> dict[str, Path]:
    return {
        sha256: path
        for shard in release.shards
        for sha256, path in _bundles_of_shard(out / shard.folder, trust).items()
    }


def _bundles_of_shard(folder: Path, trust: Trust) -> dict[str, Path]:
    return {bundle.sha256: bundle.path for bundle in read_pool(folder, trust=trust).bundles if bundle.path}


def _spread(bundles: dict[str, Path], shard_size: int) -> list[dict[str, Path]]:
    # By hash, which is any order: a shard's bundles have nothing in common that a name might have.
    ordered = sorted(bundles)
    count = -(-len(ordered) // shard_size)
    return [{name: bundles[name] for name in ordered[place::count]} for place in range(count)]


def _written(
    out: Path,
    former: Release | None,
    spread: Sequence[dict[str, Path]],
    revoked: set[str],
    network: str,
    key: "Ed25519PrivateKey",
) -> Release:
    shards = [_shard(out, list(bundles.values()), key) for bundles in spread]
    release = Release(
        public_key=public_key_text(key),
        release=secrets.token_hex(16) if former is None else former.release,
        version=1 if former is None else former.version + 1,
        inference_network_id=network,
        shards=tuple(sorted(shards, key=lambda shard: shard.sha256)),
        revoked=tuple(sorted(revoked)),
    )
    data = release_bytes(release, key)
    if len(data) > MAX_LIST_BYTES:
        raise UsageError(
            f"a release whose index has at most {MAX_LIST_BYTES:,} bytes",
            f"{len(data):,}",
            "make shards larger (--shard-size), or a release of its own for some pools",
        )
    write_atomic(out / RELEASE_INDEX, data)
    # A device may be in the middle of a fetch: the former version's shards stay until the next one.
    kept = {shard.folder for one in (former, release) if one is not None for shard in one.shards}
    for folder in (out / _SHARDS).glob("*"):
        if f"{_SHARDS}/{folder.name}" not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    return release


def _shard(out: Path, files: Sequence[Path], key: "Ed25519PrivateKey") -> Shard:
    draft = out / _SHARDS / f".draft-{secrets.token_hex(8)}"
    try:
        draft.mkdir(parents=True)
        write_pool(draft, list(files), key)
        shard = Shard(
            sha256=sha256_hex((draft / INDEX).read_bytes()),
            bundles=len(files),
            size_bytes=sum(path.stat().st_size for path in draft.iterdir()),
        )
        place = out / shard.folder
        if place.exists():
            # The same bytes: a shard is named by what is in it.
            shutil.rmtree(draft)
        else:
            draft.rename(place)
    except OSError as exc:
        raise OutputError(f"to write shards in {out}", exc.strerror or str(exc), "free space") from exc
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return shard
