"""Plain bytes out of foreign chunks."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfnet.core.errors import DataError
from obfnet.data.content import BoundedContent, plain_bytes, plain_prefix


@given(content=st.binary(max_size=300), packed=st.booleans(), step=st.integers(1, 40))
def test_chunks_of_any_size_give_the_plain_bytes(content: bytes, packed: bool, step: int) -> None:
    data = gzip.compress(content) if packed else b"plain" + content
    collected = BoundedContent(len(content) + 5, name="file")
    for begin in range(0, len(data), step):
        collected.feed(data[begin : begin + step])
    assert collected.finish() == (content if packed else data)


@pytest.mark.parametrize("content", [b"", b"\x1f", b"ab"])
def test_tiny_files_are_kept_as_they_are(content: bytes) -> None:
    assert plain_bytes(content, 10, name="file") == content


@pytest.mark.parametrize("packed", [False, True])
def test_exactly_the_limit_is_accepted_and_one_more_is_refused(packed: bool) -> None:
    data = gzip.compress(b"x" * 100) if packed else b"x" * 100
    assert len(plain_bytes(data, 100, name="file")) == 100
    with pytest.raises(DataError, match="at most 99 bytes in file"):
        plain_bytes(data, 99, name="file")


def test_a_gzip_bomb_is_refused_before_it_unfolds() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="at most 1000 bytes"):
            plain_bytes(bomb, 1000, name="bomb")
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"content" * 9, mtime=0)[:-9], "cut short"),
        (gzip.compress(b"content" * 9, mtime=0)[:10] + b"\xff" * 20, "broken gzip"),
        (gzip.compress(b"content" * 9, mtime=0)[:-8] + b"\0" * 8, "broken gzip"),
        (gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0), "more behind it"),
    ],
    ids=["truncated", "damaged", "wrong check value", "second member"],
)
def test_unsound_gzip_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plain_bytes(data, 1000, name="file")


def test_a_prefix_of_a_broken_file_is_empty() -> None:
    assert plain_prefix(b"\x1f\x8b not gzip at all", 8) == b""
    assert plain_prefix(gzip.compress(b"0123456789"), 4) == b"0123"
