"""The file format: a zip of three stored members whose bytes depend on nothing but the members.

Written by hand, field by field, so that no library version can change a published hash; read through
`zipfile` for a diagnosis by name, and at last compared with what the writer would make of the same
members, which leaves no byte unchecked. Nothing is ever extracted to disk. Knows no signature.
"""

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from obfnet.bundle.keys import SIGNATURE_BYTES
from obfnet.bundle.manifest import GRAPH_MEMBER, MAX_MANIFEST_BYTES
from obfnet.bundle.steps import refused, shown

MANIFEST_MEMBER: Final = "manifest.json"
SIGNATURE_MEMBER: Final = "signature"
MAX_GRAPH_BYTES: Final = 128 * 1024 * 1024
# In the order in which they are written, each with the most bytes that it may have.
MEMBER_LIMITS: Final = {
    MANIFEST_MEMBER: MAX_MANIFEST_BYTES,
    GRAPH_MEMBER: MAX_GRAPH_BYTES,
    SIGNATURE_MEMBER: SIGNATURE_BYTES,
}
MAX_BUNDLE_BYTES: Final = sum(MEMBER_LIMITS.values()) + 4096

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_VERSION: Final = 20
_MADE_BY_UNIX: Final = (3 << 8) | _VERSION
_1980_01_01: Final = (1 << 5) | 1
_ATTRIBUTES: Final = (stat.S_IFREG | 0o644) << 16
_ZIP64_LOCATOR: Final = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES: Final = 20
_MAX_DIRECTORY_BYTES: Final = 16 * 1024
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def pack(members: Mapping[str, bytes]) -> bytes:
    """The archive of these members; the same members give the same bytes, everywhere and always.

    Args:
        members: Exactly `manifest.json`, `obfuscate.onnx` and `signature`.

    Returns:
        A zip: stored, dated 1980-01-01, mode 0644, no extra fields, no comment.
    """
    body, directory = bytearray(), bytearray()
    for name in MEMBER_LIMITS:
        data, encoded = members[name], name.encode("ascii")
        described = (0, 0, 0, _1980_01_01, zlib.crc32(data), len(data), len(data), len(encoded))
        directory += _CENTRAL.pack(
            b"PK\x01\x02", _MADE_BY_UNIX, _VERSION, *described, 0, 0, 0, 0, _ATTRIBUTES, len(body)
        )
        directory += encoded
        body += _LOCAL.pack(b"PK\x03\x04", _VERSION, *described, 0) + encoded + data
    count = len(MEMBER_LIMITS)
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def read_file(path: Path, *, step: str = "file", max_bytes: int = MAX_BUNDLE_BYTES) -> bytes:
    """The bytes of a regular file, bounded before they are read.

    Args:
        path: The file.
        step: Name of the reader's check.
        max_bytes: Largest size that is read.

    Returns:
        Its bytes.

    Raises:
        BundleError: it is missing, cannot be read, is no regular file or too large.
    """
    # 1. file
    expected = f"a regular file of at most {max_bytes} bytes"
    try:
        # Not blocking, so that a named pipe is refused instead of waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as exc:
        got = (exc.strerror or str(exc)) if isinstance(exc, OSError) else "an impossible path"
        raise refused(step, expected, got, "check the path") from exc
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise refused(step, expected, "no regular file", "check the path")
        if state.st_size > max_bytes:
            raise refused(step, expected, f"{state.st_size} bytes")
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    except OSError as exc:
        raise refused(step, expected, exc.strerror or str(exc), "check the disk") from exc
    finally:
        os.close(handle)
    if len(data) > max_bytes:
        raise refused(step, expected, "a file that grows")
    return data


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of a bundle's archive.

    Args:
        data: The whole file.

    Returns:
        The three members by name.

    Raises:
        BundleError: at one of the steps `zip` to `exact-bytes`.
    """
    # 2. zip
    with _open(data) as archive:
        entries = archive.infolist()

        # 3. member-names
        names = _plain_names(entries)

        # 4. extra-member
        if extra := [name for name in names if name not in MEMBER_LIMITS]:
            raise refused("extra-member", f"only {', '.join(MEMBER_LIMITS)}", f"also {shown(extra[0])}")

        # 5. missing-member
        if missing := [name for name in MEMBER_LIMITS if name not in names]:
            raise refused("missing-member", f"the members {', '.join(MEMBER_LIMITS)}", f"no {missing[0]}")

        # 6. member-size
        for entry in entries:
            if entry.file_size > (limit := MEMBER_LIMITS[entry.filename]):
                raise refused(
                    "member-size", f"{entry.filename} of at most {limit} bytes", f"{entry.file_size}"
                )

        # 7. member-storage
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise refused("member-storage", "stored members", f"{entry.filename} compressed or encrypted")
            if entry.compress_size != entry.file_size:
                raise refused("member-storage", "sizes that agree", f"two sizes for {entry.filename}")

        # 8. exact-bytes
        expected = "the very bytes that these members make"
        try:
            members = {name: archive.read(name) for name in MEMBER_LIMITS}
        except (zipfile.BadZipFile, ValueError, EOFError, OSError, RuntimeError, struct.error) as exc:
            raise refused("exact-bytes", expected, "a member that cannot be read") from exc
        if pack(members) != data:
            raise refused("exact-bytes", expected, "other bytes in the archive's own fields")
    return members


def _plain_names(entries: list[zipfile.ZipInfo]) -> list[str]:
    for entry in entries:
        if not _PLAIN.fullmatch(entry.orig_filename):
            raise refused("member-names", "plain member names without folders", shown(entry.orig_filename))
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise refused(
                "member-names", "plain files as members", f"a link or a device, {shown(entry.filename)}"
            )
    names = [entry.orig_filename for entry in entries]
    if len(set(names)) != len(names):
        raise refused("member-names", "every member once", "a member twice")
    return names


def _open(data: bytes) -> zipfile.ZipFile:
    expected = "one whole zip archive"
    if len(data) < _END.size or not data.startswith(b"PK\x03\x04"):
        raise refused("zip", expected, "no zip archive at all, or data in front of it")
    mark, disk, first_disk, here, count, size, offset, comment = _END.unpack(data[-_END.size :])
    if mark != b"PK\x05\x06" or comment:
        raise refused("zip", expected, "a truncated archive, or data after it")
    locator = len(data) - _END.size - _ZIP64_LOCATOR_BYTES
    if disk or first_disk or here != count or data[locator:].startswith(_ZIP64_LOCATOR):
        raise refused("zip", expected, "a part of a split archive, or a 64-bit one")
    if size > _MAX_DIRECTORY_BYTES or offset + size + _END.size != len(data):
        raise refused("zip", expected, "a list of members that is too long or not at its place")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, OSError, struct.error) as exc:
        raise refused("zip", expected, "a broken list of members") from exc
    if len(archive.infolist()) != count:
        archive.close()
        raise refused("zip", expected, "another number of members than it says")
    return archive
