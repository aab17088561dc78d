"""Files that are either whole or not there: atomic writes, hashes, output folders, locks.

A killed command must leave the previous result or none. Everything that ObfNet writes goes through
`write_atomic`; every folder that a command fills goes through `claim_output`.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from obfnet.core.errors import OutputError

_MARKER: Final = ".obfnet-output"


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spare spaces, UTF-8: the same value gives the same bytes."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
    """Writes `data` to `path` so that a reader sees the old file or the new one, never a part.

    Args:
        path: The file; its folder is made if it is missing.
        data: Bytes, or text that is written as UTF-8.
        mode: Permission bits of the file.

    Raises:
        OutputError: the folder cannot be written, or the disk is full; the old file is still there.
    """
    payload = data.encode() if isinstance(data, str) else data
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as exc:
        # A Ctrl-C must not leave a draft behind either.
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        if not isinstance(exc, OSError):
            raise
        raise OutputError(
            f"to write {path} ({len(payload)} bytes)",
            exc.strerror or str(exc),
            "free space or give another folder",
        ) from exc


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; raises `OutputError` as `write_atomic` does."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def locked(path: Path, *, what: str, remedy: str) -> Iterator[None]:
    """Keeps other processes that do the same out of `path` for as long as the block runs; waits for them.

    Args:
        path: The file that is read and written again in the block.
        what: What to call it in an error.
        remedy: What to do where its folder cannot be written.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise OutputError(f"{what} that can be written at {path}", str(exc.strerror), remedy) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def claim_output(folder: Path, *, kind: str) -> Iterator[Path]:
    """Makes `folder` this command's own for as long as the block runs.

    A folder that already holds something else is refused, so that no foreign file is mixed with or
    replaced by ours; so is one in which another ObfNet command is at work. Where the block raises before
    anything was written, the folder is left as it was found.

    Args:
        folder: Made if it is missing.
        kind: What is written there (`"demo"`, `"pool"`); a folder is only reused for the same kind.

    Yields:
        The folder.

    Raises:
        OutputError: it holds other content, is in use, or cannot be written.
    """
    marker, made = folder / _MARKER, not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = not marker.exists() and any(folder.iterdir())
        owner = marker.read_text().strip() if marker.exists() else kind
        if foreign or owner not in ("", kind):
            content = "other files" if foreign else f"the output of 'obfnet {owner}'"
            raise OutputError(
                f"{folder} to be empty or a former '{kind}' output",
                content,
                "give another --out, or empty it",
            )
        # Without a buffer, so that nothing is left to be written when the disk is full.
        lock = marker.open("ab", buffering=0)
    except OSError as exc:
        raise OutputError(
            f"a folder to write to at {folder}", exc.strerror or str(exc), "give another --out"
        ) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock.fileno()).st_nlink == 0:
                raise BlockingIOError("the former owner is just leaving")
        except OSError as exc:
            raise OutputError(
                f"{folder} to be free",
                "another obfnet command at work in it",
                "wait for it, or give another --out",
            ) from exc
        try:
            lock.truncate(0)
            lock.write(kind.encode())
        except OSError as exc:
            raise OutputError(f"to write in {folder}", exc.strerror or str(exc), "free space") from exc
        try:
            yield folder
        except BaseException:
            _leave_nothing(folder, marker, made=made)
            raise


def _leave_nothing(folder: Path, marker: Path, *, made: bool) -> None:
    """Removes what `claim_output` made, where nothing came of it."""
    with suppress(OSError):
        if list(folder.iterdir()) == [marker]:
            marker.unlink()
            if made:
                folder.rmdir()
