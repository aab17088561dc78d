"""Reads a ZIP data set in place: names first, contents on demand, nothing is ever extracted.

An archive is foreign input, so that all of its names, kinds and sizes are checked before the first byte
of content is given, and a content is never unfolded further than was allowed. Only stored and deflated
members are read; what the files hold is not looked at.
"""

import hashlib
import io
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from obfnet.core.errors import DataError, UsageError
from obfnet.core.files import sha256_hex

_CHUNK_BYTES: Final = 1024 * 1024
# A directory entry takes 46 bytes, its name and some extras; no data set needs more on average.
_ENTRY_BYTES: Final = 256
# The end of an archive is looked for in its last 64 KiB.
_SMALLEST_LIMIT_BYTES: Final = 128 * 1024
_ENCRYPTED_BITS: Final = 0x2041
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_IGNORED_FOLDER: Final = "__MACOSX"
_WHOLE: Final = "fetch the archive again"
_OTHER: Final = "do not use this archive, or pack the data set anew"


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """How much an archive may hold.

    Args:
        members: Most entries, folders and ignored files included.
        member_bytes: Most plain bytes of one member.
        total_bytes: Most plain bytes of all members.
    """

    members: int = 100_000
    member_bytes: int = 256 * 1024 * 1024
    total_bytes: int = 4 * 1024 * 1024 * 1024

    def __post_init__(self) -> None:
        if min(self.members, self.member_bytes, self.total_bytes) < 1:
            raise UsageError("limits of at least 1", str(self), "give larger ones")


@dataclass(frozen=True, kw_only=True, repr=False)
class Member:
    """A file of an archive.

    Args:
        name: Path inside the archive, with `/` between its parts.
        data: Its plain bytes.
    """

    name: str
    data: bytes


class Archive:
    """The files of a ZIP archive, checked as a whole when it is opened; close it, or use `with`.

    Folders, `__MACOSX` and files whose path has a part that begins with a dot are passed over.

    Args:
        source: Path of the archive, or the whole archive in memory.
        limits: How much it may hold.
        folders: Names of the folders to keep, e.g. `("recordings",)`. They are looked for at the top
            and one folder down, and that wrapping folder is left off the names, so that a published
            archive and its repacking give the same names. Empty keeps every file under its own name.
        name: What to call it in a message; None takes the path.

    Raises:
        DataError: no ZIP file, cut short, or of more than `limits`; a member whose name leads out of the
            archive or is there twice, that is a link or no file, encrypted, or packed otherwise than
            deflated; nothing to keep, or wrapped in two folders. The message names the member.
    """

    def __init__(
        self,
        source: Path | bytes,
        *,
        limits: ArchiveLimits | None = None,
        folders: tuple[str, ...] = (),
        name: str | None = None,
    ) -> None:
        limits = limits or ArchiveLimits()
        self.source = name or ("the archive" if isinstance(source, bytes) else str(source))
        self._file = _BoundedFile(self._opened(source))
        self._file.limit_bytes = max(_SMALLEST_LIMIT_BYTES, limits.members * _ENTRY_BYTES)
        try:
            self._zip = self._read_directory()
            self._file.limit_bytes = None
            self._infos = self._kept(self._checked(limits), folders)
        except BaseException:
            self._file.close()
            raise
        self.names: Final = tuple(sorted(self._infos))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; nothing can be read afterwards."""
        self._zip.close()
        self._file.close()

    def read(self, name: str) -> bytes:
        """The content of one file.

        Args:
            name: One of `names`.

        Returns:
            Its plain bytes, of the declared length and checksum.

        Raises:
            DataError: no such file, or its data are damaged.
        """
        info = self._infos.get(name)
        if info is None:
            raise DataError(f"{name!r} in {self.source}", "no such file", "take one of its names")
        plain = bytearray()
        try:
            with self._zip.open(info) as stream:
                # The declared size is within the limits; never is more than that unfolded.
                while len(plain) <= info.file_size and (chunk := stream.read(_CHUNK_BYTES)):
                    plain += chunk
        # Damaged data make the reader raise many kinds of errors (ValueError, EOFError, zlib.error, ...).
        except Exception as exc:
            raise self._refused(f"{name!r} sound and of its checksum", type(exc).__name__, _WHOLE) from exc
        if len(plain) != info.file_size:
            raise self._refused(f"{info.file_size} bytes of {name!r}", f"{len(plain)} or more", _WHOLE)
        return bytes(plain)

    def members(self) -> Iterator[Member]:
        """All files in the order of their names, one in memory at a time; raises as `read` does."""
        for name in self.names:
            yield Member(name=name, data=self.read(name))

    def _opened(self, source: Path | bytes) -> "io.BytesIO | io.FileIO":
        if isinstance(source, bytes):
            return io.BytesIO(source)
        try:
            return io.FileIO(source)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or "no such path"
            raise DataError(f"a ZIP archive at {source}", reason, "give the path of a file") from exc

    def _read_directory(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._file)
        except _TooLongError as exc:
            raise self._refused("a directory of bounded size", "a far longer one", _OTHER) from exc
        # As for contents: broken structures surface as struct.error, ValueError, OverflowError, ...
        except Exception as exc:
            raise DataError(
                f"a whole ZIP archive: {self.source}", "something else, or a part of one", _WHOLE
            ) from exc

    def _checked(self, limits: ArchiveLimits) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        # 1. Not more entries, and not more bytes by their own word, than allowed.
        if len(infos) > limits.members:
            raise self._refused(f"at most {limits.members} members", str(len(infos)), _OTHER)
        for info in infos:
            if info.file_size > limits.member_bytes:
                got = f"{info.file_size} in {info.orig_filename!r}"
                raise self._refused(f"at most {limits.member_bytes} bytes a member", got, _OTHER)
        total = sum(info.file_size for info in infos)
        if total > limits.total_bytes:
            raise self._refused(f"at most {limits.total_bytes} bytes in all", str(total), _OTHER)
        files: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            # 2. A name that stays inside.
            parts = self._parts(info)
            # 3. A plain file or a folder: no link, no device; not encrypted; of a bounded method.
            self._check_kind(info)
            if info.is_dir() or parts[0] == _IGNORED_FOLDER or any(part.startswith(".") for part in parts):
                continue
            # 4. Each name once, however it is spelled.
            name = "/".join(parts)
            if name in files:
                raise self._refused("each name once", f"{name!r} twice", _OTHER)
            files[name] = info
        return files

    def _parts(self, info: zipfile.ZipInfo) -> list[str]:
        name = info.orig_filename
        parts = [part for part in name.split("/") if part not in ("", ".")]
        outside = name.startswith("/") or "\\" in name or _DRIVE.match(name) or ".." in parts or not parts
        if outside or any(unicodedata.category(character) == "Cc" for character in name):
            raise self._refused("names that stay inside the archive", repr(name), _OTHER)
        return parts

    def _check_kind(self, info: zipfile.ZipInfo) -> None:
        name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            got = f"the {'link' if kind == stat.S_IFLNK else 'special file'} {name!r}"
            raise self._refused("plain files only", got, _OTHER)
        if info.flag_bits & _ENCRYPTED_BITS:
            raise self._refused("members without a password", f"{name!r} encrypted", _OTHER)
        if info.compress_type not in _METHODS:
            got = f"{name!r} of method {info.compress_type}"
            raise self._refused("members stored or deflated", got, _OTHER)

    def _kept(
        self, files: dict[str, zipfile.ZipInfo], folders: tuple[str, ...]
    ) -> dict[str, zipfile.ZipInfo]:
        kept: dict[str, zipfile.ZipInfo] = {}
        wrappers = set()
        for name, info in files.items():
            wrapper, _, rest = name.partition("/")
            if not folders or (wrapper in folders and rest):
                kept[name] = info
                wrappers.add("")
            elif rest.partition("/")[0] in folders and "/" in rest:
                kept[rest] = info
                wrappers.add(wrapper)
        if not kept:
            wanted = f"files in {', '.join(map(repr, folders))}" if folders else "files"
            raise self._refused(wanted, "none", "give the archive of this data set")
        if len(wrappers) > 1:
            got = ", ".join(repr(wrapper) for wrapper in sorted(wrappers)[:3])
            raise self._refused("one folder around the data set", got, _OTHER)
        return kept

    def _refused(self, expected: str, got: str, remedy: str) -> DataError:
        return DataError(f"{expected} in {self.source}", got, remedy)


def content_sha256(members: Iterable[Member]) -> str:
    """One hash of what a data set holds, whoever packed it, and however.

    Args:
        members: Files in any order, each name once; their contents are not kept.

    Returns:
        64 hex digits: the SHA-256 of one line a file, sorted by name (as UTF-8 bytes), of the SHA-256 of
        its content, two spaces and its name; the same as `sha256sum` prints.

    Example:
        >>> first, second = Member(name="a/1", data=b"one"), Member(name="b/1", data=b"two")
        >>> content_sha256([first, second]) == content_sha256([second, first])
        True
    """
    hashes = sorted((member.name.encode(), sha256_hex(member.data)) for member in members)
    lines = b"".join(digest.encode() + b"  " + name + b"\n" for name, digest in hashes)
    return hashlib.sha256(lines).hexdigest()


class _TooLongError(Exception):
    """A single read of more than was allowed."""


class _BoundedFile(io.BufferedReader):
    """A file that refuses to give very much at once: the reader takes a ZIP directory in one piece."""

    limit_bytes: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.limit_bytes is not None and size is not None and size > self.limit_bytes:
            raise _TooLongError
        return super().read(size)
