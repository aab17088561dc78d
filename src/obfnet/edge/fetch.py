"""Brings one shard of a release to a device: the list, its checks, a shard that nobody can predict.

Whoever hosts the release sees which shard was fetched, and so which bundles a device may use, but not which
of them it then picks; shards that are fetched and thrown away make that less. A release older than one that
was seen before is refused, and so is everything that is not byte for byte what was signed.
"""

import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from obfnet.bundle import SUFFIX, Pool, Trust, read_pool
from obfnet.bundle.archive import MAX_BUNDLE_BYTES, read_file
from obfnet.bundle.pool import INDEX
from obfnet.bundle.reader import check_inference_network
from obfnet.bundle.release import (
    RELEASE_INDEX,
    Release,
    Shard,
    check_shard,
    parse_release,
    read_release,
)
from obfnet.bundle.signed import MAX_LIST_BYTES
from obfnet.bundle.steps import refused, shown
from obfnet.core.errors import BundleError, DataError, OutputError, UsageError
from obfnet.core.files import sha256_hex, write_atomic

_TIMEOUT_S: Final = 30.0
# Of one file, however slowly it comes.
_FILE_S: Final = 600.0
Get = Callable[[str, int], bytes]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a fetch came to.

    Args:
        pool: The pool that the device has now.
        release: The index it comes from.
        shards: How many were fetched for it; 0 where the device had a shard of this version already.
        given_away_bits: What the fetch tells the host of which bundle the device uses, of this version: each
            in the fetched shards is by so much likelier than it was; log2 of the shards there are to those
            that were fetched.
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
        out: Folder for the pool; one that was fetched of the same release is replaced, anything else refused.
        trust: Whose releases count; by default the keys pinned in ObfNet's home, or the first seen.
        shards: How many to fetch, all but one to be thrown away.
        inference_network_id: SHA-256 of the inference network's ONNX file that it must have been made for;
            None to accept any.
        transport: Replaces the network, for tests.

    Returns:
        The pool, checked like any other, and what the fetch gave away.

    Raises:
        UsageError: fewer shards than 1, or more than there are; a pool of another release in `out`.
        BundleError: the release or a shard was refused; `out` is as it was.
        DataError: the source cannot be read.
        OutputError: `out` or what is remembered cannot be written.

    Does not guarantee: that the host does not know the device, by its address or by the time of the fetch;
        nor that it lets a device have any shard but those it likes.
    """
    trust, out = trust or Trust(), out.resolve()
    _tidy(out)
    with _source(source, transport) as get:
        data = get(RELEASE_INDEX, MAX_LIST_BYTES)
        release = read_release(data, trust=trust)
        check_inference_network("release-shard", release.inference_network_id, inference_network_id)
        _check_place(out, release)
        remember = partial(
            trust.known_releases.remember,
            release.public_key,
            release.release,
            release.version,
            sha256_hex(data),
            release.revoked,
        )
        if trust.is_known(release.public_key):
            # From now on an older list is refused, and what this one revokes, whether a shard can be had or
            # not.
            remember()
        if not release.shards:
            raise refused(
                "release-empty", "bundles in the release", "all of them revoked", "ask its coordinator"
            )
        if (kept := _still_listed(out, release, trust)) is not None:
            return Fetched(pool=kept, release=release, shards=0, given_away_bits=0.0)
        if not 1 <= shards <= len(release.shards):
            raise UsageError(f"1 to {len(release.shards)} shards", str(shards), "change --shards")
        wanted = secrets.SystemRandom().sample(release.shards, shards)
        draft = out.with_name(f".{out.name}.new-{secrets.token_hex(8)}")
        try:
            used = secrets.randbelow(shards)
            for place, shard in enumerate(wanted):
                _fetch_shard(get, release, shard, draft if place == used else None)
            write_atomic(draft / RELEASE_INDEX, data)
            read_pool(draft, trust=trust)
            remember()
            _replace(out, draft)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise OutputError(f"to write {out}", reason, "free space, or give another --out") from exc
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return Fetched(
        pool=read_pool(out, trust=trust),
        release=release,
        shards=shards,
        given_away_bits=math.log2(len(release.shards) / shards),
    )


def _fetch_shard(get: Get, release: Release, shard: Shard, folder: Path | None) -> None:
    data = get(f"{shard.folder}/{INDEX}", MAX_LIST_BYTES)
    files, left = check_shard(release, shard, data), shard.size_bytes - len(data)
    if folder is not None:
        folder.mkdir(parents=True)
    for file, sha256 in files:
        content = get(f"{shard.folder}/{file}", max(0, min(left, MAX_BUNDLE_BYTES)))
        left -= len(content)
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


def _check_place(out: Path, release: Release) -> None:
    """Only what was fetched may be replaced, and only by the release that it is of."""
    try:
        names = [path.name for path in out.iterdir()] if out.exists() else []
        data = (out / RELEASE_INDEX).read_bytes() if RELEASE_INDEX in names else b""
    except OSError as exc:
        raise OutputError(f"a folder at {out}", exc.strerror or str(exc), "give another --out") from exc
    foreign = [name for name in names if name not in (INDEX, RELEASE_INDEX) and not name.endswith(SUFFIX)]
    if names and (foreign or not data):
        raise OutputError(
            f"{out} to be a pool that was fetched, empty or not there",
            f"other files, like {shown(min(foreign or names))}",
            "give another --out",
        )
    if not data:
        return
    former = parse_release(data)
    if (former.public_key, former.release) != (release.public_key, release.release):
        raise UsageError(
            f"release {former.release[:12]}, which the pool in {out} is of",
            f"release {release.release[:12]}",
            "check the address, or give another --out",
        )


def _tidy(out: Path) -> None:
    """Puts back a pool that a killed fetch had moved aside, and removes what it had not finished."""
    for path in sorted(out.parent.glob(f".{out.name}.*-*")):
        if path.name.startswith(f".{out.name}.old-") and not out.exists():
            with suppress(OSError):
                path.rename(out)
        elif path.name.startswith((f".{out.name}.old-", f".{out.name}.new-")):
            shutil.rmtree(path, ignore_errors=True)


def _replace(out: Path, draft: Path) -> None:
    aside = out.with_name(f".{out.name}.old-{secrets.token_hex(8)}")
    if out.exists():
        out.rename(aside)
    try:
        draft.rename(out)
    except BaseException:
        if aside.exists() and not out.exists():
            aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _source(source: Path | str, transport: httpx.BaseTransport | None) -> Iterator[Get]:
    text = str(source)
    if not text.startswith(("http://", "https://")):
        yield partial(_of_folder, Path(source))
        return
    # Plain bytes: what is packed may unpack to anything.
    with httpx.Client(
        timeout=_TIMEOUT_S,
        follow_redirects=False,
        trust_env=False,
        transport=transport,
        headers={"accept-encoding": "identity"},
    ) as client:
        yield partial(_of_server, client, text.rstrip("/"))


def _of_folder(folder: Path, name: str, most: int) -> bytes:
    try:
        return read_file(folder / name, step="release-index", max_bytes=most)
    except BundleError as exc:
        raise _not_had(f"{folder / name}", exc.got) from exc


def _of_server(client: httpx.Client, base: str, name: str, most: int) -> bytes:
    url, data, begun = f"{base}/{name}", bytearray(), time.monotonic()
    try:
        with client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _not_had(url, f"HTTP status {answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise _not_had(url, "a packed answer")
            for part in answer.iter_raw():
                data += part
                if len(data) > most:
                    raise _not_had(url, f"more than {most:,} bytes")
                if time.monotonic() - begun > _FILE_S:
                    raise _not_had(url, f"no end after {_FILE_S:g} seconds")
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise _not_had(url, type(exc).__name__) from exc
    return bytes(data)


def _not_had(name: str, got: str) -> DataError:
    return DataError(f"a file of the release at {name}", got, "check the address, or try again later")
