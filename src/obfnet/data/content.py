"""Collects a file's plain bytes from chunks, plain or gzip, and never more than was allowed.

Downloads and sample files are foreign input: a few kilobytes of gzip can unfold to gigabytes. One
gzip member is understood; several, or anything behind the first, are refused.
"""

import zlib
from typing import Final

from obfnet.core.errors import DataError

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31


class BoundedContent:
    """The plain bytes of a file that arrives in chunks; gzip is seen by its first two bytes.

    Args:
        limit_bytes: Most plain bytes that are accepted.
        name: What to call the file in a message.
        packed: Whether gzip is kept as it is.

    Example:
        >>> content = BoundedContent(16, name="greeting")
        >>> content.feed(b"hel")
        >>> content.feed(b"lo")
        >>> content.finish()
        b'hello'
    """

    def __init__(self, limit_bytes: int, *, name: str, packed: bool = False) -> None:
        self.limit_bytes, self.name, self._packed = limit_bytes, name, packed
        self._first = b""
        self._plain = bytearray()
        self._gzip: zlib._Decompress | None = None

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the file.

        Raises:
            DataError: more than `limit_bytes` plain bytes, or broken gzip.
        """
        if len(self._first) < len(_GZIP_MAGIC):
            self._first += chunk
            if len(self._first) < len(_GZIP_MAGIC):
                return
            chunk = self._first
            if chunk.startswith(_GZIP_MAGIC) and not self._packed:
                self._gzip = zlib.decompressobj(_GZIP_WINDOW)
        if self._gzip is not None:
            chunk = self._inflate(self._gzip, chunk)
        self._plain += chunk
        if len(self._plain) > self.limit_bytes:
            raise DataError(
                f"at most {self.limit_bytes} bytes in {self.name}",
                "more",
                "give the original, undamaged file",
            )

    def finish(self) -> bytes:
        """The whole file, once every chunk was fed.

        Raises:
            DataError: the gzip data stop before their end.
        """
        if self._gzip is not None and not self._gzip.eof:
            raise DataError(f"{self.name} to be whole", "gzip data cut short", "fetch the file again")
        return bytes(self._plain) if len(self._first) >= len(_GZIP_MAGIC) else self._first

    def _inflate(self, gzip: "zlib._Decompress", chunk: bytes) -> bytes:
        try:
            # One byte past the limit is enough to see that there is more; zero would mean no limit.
            plain = gzip.decompress(chunk, self.limit_bytes - len(self._plain) + 1)
        except zlib.error as exc:
            raise DataError(
                f"{self.name} to be sound gzip", "broken gzip data", "fetch the file again"
            ) from exc
        if gzip.unused_data:
            raise DataError(
                f"{self.name} to end with its gzip data", "more behind it", "fetch the file again"
            )
        return plain


def plain_bytes(data: bytes, limit_bytes: int, *, name: str) -> bytes:
    """The plain bytes of a whole file, plain or gzip.

    Args:
        data: The file.
        limit_bytes: Most plain bytes that are accepted.
        name: What to call the file in a message.

    Returns:
        At most `limit_bytes` bytes.

    Raises:
        DataError: too long, cut short, or broken gzip.
    """
    content = BoundedContent(limit_bytes, name=name)
    content.feed(data)
    return content.finish()


def plain_prefix(data: bytes, size_bytes: int) -> bytes:
    """The first plain bytes of a file, plain or gzip; fewer where it is shorter or broken.

    Args:
        data: The file.
        size_bytes: How many bytes to look at, ≥ 1.

    Returns:
        At most `size_bytes` bytes; nothing is unfolded beyond them.
    """
    if not data.startswith(_GZIP_MAGIC):
        return data[:size_bytes]
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(data, size_bytes)
    except zlib.error:
        return b""
