"""Brings one shard of a release to a device: the list, its checks, a shard that nobody can predict.

Whoever hosts the release sees which shard was fetched, and so which bundles a device may use, but not which
of them it then picks; shards that are fetched and thrown away make that less. A release older than one that
was seen before is refused, and so is everything that is not byte for byte what was signed.
"""

import math
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from obfnet.bundle import Pool, Trust, read_pool
from obfnet.bundle.archive import MAX_BUNDLE_BYTES
from obfnet.bundle.pool import INDEX, parse_index
from obfnet.bundle.release import RELEASE_INDEX, Release, Shard, read_release
from obfnet.bundle.signed import MAX_LIST_BYTES
from obfnet.bundle.steps import refused, shown
from obfnet.core.errors import BundleError, DataError, OutputError, UsageError
from obfnet.core.files import sha256_hex, write_atomic

_TIMEOUT_S: Final = 30.0
Get = Callable[[str, int], bytes]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a fetch came to.

    Args:
        pool: The pool that the device has now.
        release: The index it comes from.
        shards: How many were fetched for it; 0 where the device had a shard of this version already.
        given_away_bits: What the fetch tells the host of which bundle the device uses: log2 of all bundles of
            the release to those of the fetched shards.
    """

    pool: Pool
    release: Release
    shards: int
    given_away_bits: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {
            "release": self.release.release,
            "version": self.release.version,
            "bundles_of_release": self.release.count,
            "bundles": len(self.pool.bundles),
            "fetched_shards": self.shards,
            "given_away_bits": self.given_away_bits,
            "revoked": len(self.release.revoked),
            "public_key": self.release.public_key,
            "inference_network_id": self.release.inference_network_id,
        }


def fetch_pool(
    source: Path | str,
    out: Path,
    *,
    trust: Trust | None = None,
    shards: int = 1,
    inference_network_id: str | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Fetched:
    """Brings a device's pool up to date with a release.

    Where the shard that lies in `out` is still one of the release, it stays: only the index is fetched.

    Args:
        source: Folder of the release, or its URL without `release.json`.
        out: Folder for the pool; a former pool there is replaced in one step, anything else is refused.
        trust: Whose releases count; by default the keys pinned in ObfNet's home, or the first seen.
        shards: How many to fetch, all but one to be thrown away.
        inference_network_id: SHA-256 of the inference network's ONNX file that it must have been made for;
            None to accept any.
        transport: Replaces the network, for tests.

    Returns:
        The pool, checked like any other, and what the fetch gave away.

    Raises:
        UsageError: fewer shards than 1, or more than there are.
        BundleError: the release or a shard was refused; `out` is as it was.
        DataError: the source cannot be read.
        OutputError: `out` or what is remembered cannot be written.

    Does not guarantee: that the host does not know the device, by its address or by the time of the fetch.
    """
    trust, get = trust or Trust(), _source(source, transport)
    data = get(RELEASE_INDEX, MAX_LIST_BYTES)
    release = read_release(data, trust=trust)
    made_for = release.inference_network_id
    if inference_network_id not in (None, made_for):
        raise refused(
            "release-shard", f"one made for {str(inference_network_id)[:12]}...", f"{made_for[:12]}..."
        )
    _check_place(out)
    seen = (release.release, release.version, sha256_hex(data), release.revoked)
    if trust.is_known(release.public_key):
        # From now on an older list is refused, and what this one revokes, whether a shard can be had or not.
        trust.known_releases.remember(*seen)
    if not release.shards:
        raise refused("release-empty", "bundles in the release", "all of them revoked", "ask its coordinator")
    if (kept := _still_listed(out, release, trust)) is not None:
        return Fetched(pool=kept, release=release, shards=0, given_away_bits=0.0)
    if not 1 <= shards <= len(release.shards):
        raise UsageError(f"1 to {len(release.shards)} shards", str(shards), "change --shards")
    wanted = secrets.SystemRandom().sample(release.shards, shards)
    draft = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        used = secrets.randbelow(shards)
        for place, shard in enumerate(wanted):
            _fetch_shard(get, shard, draft if place == used else None)
        read_pool(draft, trust=trust, inference_network_id=made_for)
        trust.known_releases.remember(*seen)
        _replace(out, draft)
    except OSError as exc:
        raise OutputError(f"to write {out}", exc.strerror or str(exc), "free space, or give another") from exc
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Fetched(
        pool=read_pool(out, trust=trust),
        release=release,
        shards=shards,
        given_away_bits=math.log2(release.count / sum(shard.bundles for shard in wanted)),
    )


def _fetch_shard(get: Get, shard: Shard, folder: Path | None) -> None:
    data = get(f"{shard.folder}/{INDEX}", MAX_LIST_BYTES)
    if sha256_hex(data) != shard.sha256:
        raise refused("release-shard", "the shard that was listed", "another")
    files = {entry.file: entry.sha256 for entry in parse_index(data).bundles}
    if folder is not None:
        folder.mkdir(parents=True)
    for file, sha256 in files.items():
        content = get(f"{shard.folder}/{file}", MAX_BUNDLE_BYTES)
        if sha256_hex(content) != sha256:
            raise refused("release-shard", f"the bundle that was listed as {shown(file)}", "another")
        if folder is not None:
            write_atomic(folder / file, content)
    if folder is not None:
        write_atomic(folder / INDEX, data)


def _still_listed(out: Path, release: Release, trust: Trust) -> Pool | None:
    try:
        data = (out / INDEX).read_bytes()
        if sha256_hex(data) in {shard.sha256 for shard in release.shards}:
            return read_pool(out, trust=trust)
    except (OSError, BundleError):
        # None there, or a broken one: it is fetched.
        pass
    return None


def _check_place(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / INDEX).exists())):
        raise OutputError(f"{out} to be a former pool, empty or not there", "something else", "give another")


def _replace(out: Path, draft: Path) -> None:
    aside = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    if out.exists():
        out.rename(aside)
    try:
        draft.rename(out)
    except OSError:
        if aside.exists():
            aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _source(source: Path | str, transport: httpx.BaseTransport | None) -> Get:
    text = str(source)
    if not text.startswith(("http://", "https://")):
        return lambda name, most: _of_folder(Path(source), name, most)
    client = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False, transport=transport)
    return lambda name, most: _of_server(client, f"{text.rstrip('/')}/{name}", most)


def _of_folder(folder: Path, name: str, most: int) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            data = file.read(most + 1)
    except OSError as exc:
        raise _not_had(f"{folder / name}", exc.strerror or str(exc)) from exc
    return _bounded(data, str(folder / name), most)


def _of_server(client: httpx.Client, url: str, most: int) -> bytes:
    data = bytearray()
    try:
        with client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _not_had(url, f"HTTP status {answer.status_code}")
            for part in answer.iter_bytes():
                data += part
                if len(data) > most:
                    break
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise _not_had(url, type(exc).__name__) from exc
    return _bounded(bytes(data), url, most)


def _bounded(data: bytes, name: str, most: int) -> bytes:
    if len(data) > most:
        raise _not_had(name, f"more than {most:,} bytes")
    return data


def _not_had(name: str, got: str) -> DataError:
    return DataError(f"a file of the release at {name}", got, "check the address, or try again later")
