"""A release: pools for a fleet, published as shards under one signed index that has a version.

A device fetches one shard and not thousands of bundles. A shard is a pool like any other, in a folder named
by its list's hash, so that devices in the middle of a fetch find the former ones still there. The index says
which bundles are revoked; whoever has seen it refuses them from then on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from obfnet.bundle.archive import read_file
from obfnet.bundle.keys import is_public_key_text
from obfnet.bundle.manifest import is_sha256
from obfnet.bundle.pool import INDEX, parse_index, read_pool
from obfnet.bundle.reader import Bundle
from obfnet.bundle.signed import MAX_LIST_BYTES, read_signed_list, signed_list
from obfnet.bundle.steps import refused
from obfnet.bundle.trust import Trust
from obfnet.core.files import sha256_hex

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RELEASE_INDEX: Final = "release.json"
_VERSION: Final = 1
_ID_DIGITS: Final = 32
_SIGNED_AS: Final = b"obfnet-release-v1\n"


@final
@dataclass(frozen=True, kw_only=True)
class Shard:
    """One pool of a release.

    Args:
        sha256: Of its `pool.json`.
        bundles: How many it has, ≥ 1.
        size_bytes: Of all its files.
    """

    sha256: str
    bundles: int
    size_bytes: int

    @property
    def folder(self) -> str:
        """Where it lies in the release, with `/`."""
        return f"shards/{self.sha256[:16]}"


@final
@dataclass(frozen=True, kw_only=True)
class Release:
    """The index of a release.

    Args:
        format_version: Of this document.
        public_key: Text of the key that signed it and every shard.
        release: Names the release, whatever its version; 32 hex digits.
        version: From 1; each publication has the next.
        inference_network_id: SHA-256 of the inference network that all bundles were made for.
        shard_size: About how many bundles a shard was to have.
        shards: The pools; none where everything is revoked.
        revoked: SHA-256 of each bundle that no device may use any more, of this version or a former one.
    """

    format_version: int = _VERSION
    public_key: str
    release: str
    version: int
    inference_network_id: str
    shard_size: int
    shards: tuple[Shard, ...]
    revoked: tuple[str, ...]

    @property
    def count(self) -> int:
        """Bundles of all shards."""
        return sum(shard.bundles for shard in self.shards)


def release_bytes(release: Release, key: "Ed25519PrivateKey") -> bytes:
    """The signed document, the same bytes for the same release."""
    content = {
        "format_version": release.format_version,
        "public_key": release.public_key,
        "release": release.release,
        "version": release.version,
        "inference_network_id": release.inference_network_id,
        "shard_size": release.shard_size,
        "shards": [
            {"sha256": shard.sha256, "bundles": shard.bundles, "size_bytes": shard.size_bytes}
            for shard in release.shards
        ],
        "revoked": list(release.revoked),
    }
    return signed_list(content, key, purpose=_SIGNED_AS)


def read_release(data: bytes, *, trust: Trust) -> Release:
    """The index of a release, checked; what it lists is checked when it is read.

    Args:
        data: Content of `release.json`.
        trust: Whose signature counts, and which versions were seen before.

    Raises:
        BundleError: of the steps `release-json` to `release-rollback`.
        DataError: a file of trusted keys or of known releases is broken.
    """
    release = parse_release(data)
    trust.check(release.public_key, "a release", step="release-key")
    trust.known_releases.check(release.public_key, release.release, release.version, sha256_hex(data))
    return release


def parse_release(data: bytes) -> Release:
    """The index of a release with a good signature of the key that it names, whoever that is.

    Args:
        data: Content of `release.json`.

    Raises:
        BundleError: of the steps `release-json` to `release-signature`.
    """
    return read_signed_list(
        data, Release, steps="release", version=_VERSION, purpose=_SIGNED_AS, possible=_is_possible
    )


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
    release = read_release(index_of(folder), trust=trust)
    if not release.shards:
        raise refused("release-empty", "bundles in the release", "all of them revoked", "ask its coordinator")
    bundles: list[Bundle] = []
    for shard in release.shards:
        place = folder / shard.folder
        # Before a pool may pin its key as the first seen.
        check_shard(release, shard, read_file(place / INDEX, step="release-shard", max_bytes=MAX_LIST_BYTES))
        pool = read_pool(place, trust=trust, inference_network_id=inference_network_id)
        bundles += pool.bundles
    return tuple(bundles)


def check_shard(release: Release, shard: Shard, data: bytes) -> list[tuple[str, str]]:
    """The files of a shard and their SHA-256, from its list; raises `BundleError`, step `release-shard`.

    Args:
        release: The index, checked.
        shard: One of its shards.
        data: Content of that shard's `pool.json`.
    """
    if sha256_hex(data) != shard.sha256:
        raise refused("release-shard", "the shard that was listed", "another")
    index = parse_index(data)
    # Else whoever signs a list of somebody else's pools would speak in the other's name.
    if index.public_key != release.public_key:
        raise refused("release-shard", "a shard signed by the release's key", "another key's")
    if index.inference_network_id != release.inference_network_id:
        raise refused("release-shard", "a shard for the release's inference network", "for another")
    if len(index.bundles) != shard.bundles:
        raise refused("release-shard", f"{shard.bundles} bundles", str(len(index.bundles)))
    return [(entry.file, entry.sha256) for entry in index.bundles]


def index_of(folder: Path) -> bytes:
    """Content of the index in a folder; raises `BundleError`, step `release-index`, where there is none."""
    return read_file(folder / RELEASE_INDEX, step="release-index", max_bytes=MAX_LIST_BYTES)


def _is_possible(release: Release) -> bool:
    hashes = [
        release.inference_network_id,
        *release.revoked,
        *(shard.sha256 for shard in release.shards),
    ]
    named = len(release.release) == _ID_DIGITS and is_sha256(2 * release.release)
    counted = all(shard.bundles >= 1 and shard.size_bytes >= 1 for shard in release.shards)
    folders = {shard.folder for shard in release.shards}
    return (
        is_public_key_text(release.public_key)
        and named
        and release.version >= 1
        and release.shard_size >= 1
        and counted
        and len(folders) == len(release.shards)
        and all(map(is_sha256, hashes))
    )
