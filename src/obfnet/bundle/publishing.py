"""Publishes pools as a release, and revokes bundles of it: the coordinator's side of a fleet.

The index is replaced last and in one step, so that a killed command leaves the former release whole.
"""

import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obfnet.bundle.keys import public_key_text
from obfnet.bundle.manifest import is_sha256
from obfnet.bundle.pool import INDEX, read_pool, write_pool
from obfnet.bundle.reader import Bundle
from obfnet.bundle.release import RELEASE_INDEX, Release, Shard, index_of, read_release, release_bytes
from obfnet.bundle.signed import MAX_LIST_BYTES
from obfnet.bundle.steps import shown
from obfnet.bundle.trust import Trust
from obfnet.core.errors import BundleError, OutputError, UsageError
from obfnet.core.files import locked, sha256_hex, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SHARD_SIZE: Final = 16
"""Bundles of a shard unless another number is asked for: which of them a device uses stays with it."""

_SHARDS: Final = "shards"
_OURS: Final = re.compile(r"[0-9a-f]{16}|\.draft-[0-9a-f]{16}")


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
        UsageError: no pools, pools of several inference networks, bundles of one name, or a shard size below
            1.
        BundleError: a device would refuse a pool, or what is in `out` already.
        OutputError: `out` holds something else, or cannot be written.
    """
    if not pools or shard_size < 1:
        raise UsageError("pools and a shard size of at least 1", f"{len(pools)}, {shard_size}", "correct it")
    trust = Trust(explicit=(public_key_text(key),))
    read = [read_pool(folder, trust=trust) for folder in pools]
    if len({pool.inference_network_id for pool in read}) > 1:
        raise UsageError("pools of one inference network", "of several", "make a release for each of them")
    bundles = {bundle.sha256: bundle for pool in read for bundle in pool.bundles}
    twice = [name for name, count in Counter(one.name for one in bundles.values()).items() if count > 1]
    if twice:
        raise UsageError(
            "bundles of different names",
            f"{len(twice)} twice, like {shown(min(twice))}",
            "train one larger pool, whose networks are numbered, or publish one of them",
        )
    with _writing(out):
        former = _former(out, trust)
        revoked = set() if former is None else set(former.revoked)
        if former is not None and revoke_former:
            held = [_bundles_of(out / shard.folder, trust) for shard in former.shards]
            revoked |= {sha256 for shard in held for sha256 in shard} - set(bundles)
        left = {sha256: _path(one) for sha256, one in bundles.items() if sha256 not in revoked}
        release = Release(
            public_key=public_key_text(key),
            release=secrets.token_hex(16) if former is None else former.release,
            version=1 if former is None else former.version + 1,
            inference_network_id=read[0].inference_network_id,
            shard_size=shard_size,
            shards=tuple(_shard(out, shard, key) for shard in _spread(left, shard_size)),
            revoked=tuple(sorted(revoked)),
        )
        return _written(out, former, release, key)


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
        UsageError: no such release, or no such bundle.
        BundleError: what is in `out` is a broken release, or another key's.
        OutputError: `out` cannot be written.
    """
    trust = Trust(explicit=(public_key_text(key),))
    if not (out / RELEASE_INDEX).exists():
        raise UsageError(f"a release in {out}", "none", "publish one first, or check the path")
    with _writing(out):
        former = read_release(index_of(out), trust=trust)
        held = [_bundles_of(out / shard.folder, trust) for shard in former.shards]
        present = {sha256: path for shard in held for sha256, path in shard.items()}
        by_name = {path.stem: sha256 for sha256, path in present.items()}
        revoked = set(former.revoked)
        for name in bundles:
            sha256 = by_name.get(name, name)
            if sha256 not in present and not is_sha256(sha256):
                known = ", ".join(sorted(by_name)[:8])
                raise UsageError(
                    f"a bundle of the release ({known})", shown(name), "give its name or SHA-256"
                )
            revoked.add(sha256)
        kept = [{one: path for one, path in shard.items() if one not in revoked} for shard in held]
        left = [shard for shard in kept if shard]
        if any(2 * len(shard) < min(former.shard_size, len(present)) for shard in left):
            # A device with a small shard has little to pick from, and its host knows which.
            left = _spread({one: path for shard in left for one, path in shard.items()}, former.shard_size)
        release = Release(
            public_key=former.public_key,
            release=former.release,
            version=former.version + 1,
            inference_network_id=former.inference_network_id,
            shard_size=former.shard_size,
            shards=tuple(_shard(out, shard, key) for shard in left),
            revoked=tuple(sorted(revoked)),
        )
        return _written(out, former, release, key)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Makes the folder, and keeps other commands that publish there out of it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"a folder at {out}", exc.strerror or str(exc), "give another --out") from exc
    with locked(out / RELEASE_INDEX, what="a release", remedy="give another --out"):
        yield


def _former(out: Path, trust: Trust) -> Release | None:
    if (out / RELEASE_INDEX).exists():
        return read_release(index_of(out), trust=trust)
    # What a first publication may have left that was killed.
    lock = f".{RELEASE_INDEX}.lock"
    foreign = [path for path in out.iterdir() if path.name not in (_SHARDS, lock)]
    if foreign or any(not _OURS.fullmatch(path.name) for path in (out / _SHARDS).glob("*")):
        raise OutputError(f"{out} to be empty or a release", "other files", "give another --out")
    return None


def _path(bundle: Bundle) -> Path:
    if bundle.path is None:
        raise TypeError("a bundle that was never a file")
    return bundle.path


def _bundles_of(folder: Path, trust: Trust) -> dict[str, Path]:
    return {bundle.sha256: _path(bundle) for bundle in read_pool(folder, trust=trust).bundles}


def _spread(bundles: dict[str, Path], shard_size: int) -> list[dict[str, Path]]:
    # By hash, which is any order: a shard's bundles have nothing in common that a name might have.
    ordered = sorted(bundles)
    count = -(-len(ordered) // shard_size)
    return [{name: bundles[name] for name in ordered[place::count]} for place in range(count)]


def _written(out: Path, former: Release | None, release: Release, key: "Ed25519PrivateKey") -> Release:
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
        if f"{_SHARDS}/{folder.name}" not in kept and _OURS.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
    return release


def _shard(out: Path, bundles: dict[str, Path], key: "Ed25519PrivateKey") -> Shard:
    draft = out / _SHARDS / f".draft-{secrets.token_hex(8)}"
    try:
        draft.mkdir(parents=True)
        write_pool(draft, list(bundles.values()), key)
        shard = Shard(
            sha256=sha256_hex((draft / INDEX).read_bytes()),
            bundles=len(bundles),
            size_bytes=sum(path.stat().st_size for path in draft.iterdir()),
        )
        place = out / shard.folder
        if place.exists() and not _is_sound(place, key):
            shutil.rmtree(place)
        if not place.exists():
            draft.rename(place)
    except OSError as exc:
        raise OutputError(f"to write shards in {out}", exc.strerror or str(exc), "free space") from exc
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return shard


def _is_sound(folder: Path, key: "Ed25519PrivateKey") -> bool:
    try:
        read_pool(folder, trust=Trust(explicit=(public_key_text(key),)))
    except BundleError:
        return False
    return True
