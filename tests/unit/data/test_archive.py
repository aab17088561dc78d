"""ZIP data sets: contents come out by name; whatever could do harm is refused by the member's name."""

import hashlib
import io
import os
import random
import stat
import struct
import subprocess
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfnet.core.errors import DataError, UsageError
from obfnet.data.archive import Archive, ArchiveLimits, Member, content_sha256

# The tests of this folder run without the variable.
DATA = Path(os.environ.get("OBFNET_DATA", ""))
FILES = {"b/2.txt": b"two" * 100, "a/1.txt": b"one", "b/ü 1.txt": b""}


def packed(files: dict[str, bytes] | list[tuple[str | zipfile.ZipInfo, bytes]], method: int = 8) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return file.getvalue()


def info(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    return entry


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("in_memory", [False, True])
def test_files_come_by_name_in_sorted_order(method: int, in_memory: bool, tmp_path: Path) -> None:
    data = packed(FILES, method)
    (tmp_path / "set.zip").write_bytes(data)
    source = data if in_memory else tmp_path / "set.zip"
    with Archive(source) as archive:
        assert archive.names == ("a/1.txt", "b/2.txt", "b/ü 1.txt")
        assert {name: archive.read(name) for name in reversed(archive.names)} == FILES
        with pytest.raises(DataError, match="no such file"):
            archive.read("a/2.txt")
        assert [(member.name, member.data) for member in archive.members()] == sorted(FILES.items())


def test_folders_and_what_systems_leave_behind_are_passed_over() -> None:
    litter = {"a/": b"", "__MACOSX/a/._1": b"x", "a/.DS_Store": b"x", ".git/config": b"x", "./a/1": b"1"}
    with Archive(packed(litter)) as archive:
        assert archive.names == ("a/1",)
        assert archive.read("a/1") == b"1"


def test_a_wrapping_folder_is_left_off() -> None:
    published = {f"set-1.0.10/{name}": data for name, data in FILES.items()} | {"set-1.0.10/README": b"x"}
    with (
        Archive(packed(published), folders=("a", "b")) as wrapped,
        Archive(packed(FILES, 0), folders=("a", "b")) as plain,
    ):
        assert wrapped.names == plain.names == tuple(sorted(FILES))
        assert content_sha256(wrapped.members()) == content_sha256(plain.members())
    with Archive(packed(published), folders=("a",)) as part:
        assert part.names == ("a/1.txt",)
    with pytest.raises(DataError, match="files in 'c' in the archive, got none"):
        Archive(packed(published), folders=("c",))
    with pytest.raises(DataError, match=r"one folder around the data set.*'one', 'two'"):
        Archive(packed({"one/a/1": b"", "two/a/2": b""}), folders=("a",))


def test_the_hash_is_of_the_contents_and_equals_sha256sum(tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    command = "find -type f -printf '%P\\n' | sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    members = [Member(name=name, data=data) for name, data in FILES.items()]
    assert content_sha256(members) == done.stdout[:64].decode()
    random.Random(0).shuffle(members)
    with Archive(packed(FILES, 0)) as archive:
        assert content_sha256(members) == content_sha256(archive.members())
    assert content_sha256([*members[1:], Member(name=members[0].name, data=b"!")]) != content_sha256(members)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "a/..",
        "/etc/evil",
        "//host/evil",
        "C:evil",
        "c:/evil",
        "a\\..\\evil",
        "a\nb",
        "..",
    ],
)
def test_a_name_that_leads_outside_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="stay inside the archive") as caught:
        Archive(packed([("a/1", b"1"), (name, b"evil")]), name="set.zip")
    assert repr(name) in str(caught.value)
    assert "set.zip" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_name_cut_by_a_zero_byte_is_refused() -> None:
    data = packed({"a/safe#.jpg": b"1"}).replace(b"safe#", b"safe\0")
    with pytest.raises(DataError, match=r"in the archive|whole ZIP"):
        Archive(data)


@pytest.mark.parametrize(("kind", "word"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "special file")])
def test_links_and_devices_are_refused(kind: int, word: str) -> None:
    with pytest.raises(DataError, match=f"the {word} 'a/passwd'"):
        Archive(packed([("a/1", b"1"), (info("a/passwd", kind | 0o777), b"/etc/passwd")]))


def test_plain_unix_modes_are_fine() -> None:
    with Archive(packed([(info("a/", stat.S_IFDIR | 0o755), b""), (info("a/1", stat.S_IFREG), b"1")])) as got:
        assert got.names == ("a/1",)


def test_a_member_under_a_password_is_refused() -> None:
    data = bytearray(packed({"a/1": b"one"}))
    for magic, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(magic) + offset] |= 1
    with pytest.raises(DataError, match="'a/1' encrypted"):
        Archive(bytes(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(method: int) -> None:
    with pytest.raises(DataError, match="stored or deflated"):
        Archive(packed({"a/1": b"one"}, method))


@pytest.mark.parametrize("second", ["a/1", "a//1", "./a/1"])
def test_a_name_twice_is_refused(second: str) -> None:
    data = packed({"a/1": b"one", "#" * len(second): b"two"}).replace(b"#" * len(second), second.encode())
    with pytest.raises(DataError, match="'a/1' twice"):
        Archive(data)


def test_limits_hold_before_anything_is_read() -> None:
    data = packed(FILES)
    with pytest.raises(DataError, match="at most 2 members in the archive, got 3"):
        Archive(data, limits=ArchiveLimits(members=2))
    with pytest.raises(DataError, match=r"at most 299 bytes a member.*300 in 'b/2\.txt'"):
        Archive(data, limits=ArchiveLimits(member_bytes=299))
    with pytest.raises(DataError, match="at most 302 bytes in all"):
        Archive(data, limits=ArchiveLimits(total_bytes=302))
    Archive(data, limits=ArchiveLimits(members=3, member_bytes=300, total_bytes=303)).close()
    with pytest.raises(UsageError):
        ArchiveLimits(members=0)


def test_a_huge_directory_is_refused_unread() -> None:
    data = packed({f"{number}/" + "x" * 1000: b"" for number in range(300)})
    with pytest.raises(DataError, match="directory of bounded size"):
        Archive(data, limits=ArchiveLimits(members=10))


def lying(data: bytes, name: str, size_bytes: int) -> bytes:
    """The archive, with another plain size of the member in both of its headers."""
    changed = bytearray(data)
    for magic, at_name, at_size in ((b"PK\x03\x04", 30, 22), (b"PK\x01\x02", 46, 24)):
        at = data.index(name.encode(), data.index(magic)) - at_name
        struct.pack_into("<I", changed, at + at_size, size_bytes)
    return bytes(changed)


@pytest.mark.parametrize("said", [1000, 200_000_000])
def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_unfolds(said: int) -> None:
    bomb = lying(packed({"bomb": bytes(100_000_000)}), "bomb", said)
    tracemalloc.start()
    try:
        with Archive(bomb) as archive, pytest.raises(DataError, match="'bomb'"):
            archive.read("bomb")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (8_000_000 if said == 1000 else 250_000_000)


def test_damaged_contents_are_named() -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = bytearray(packed({"a/1": b"good", "b/1": os.urandom(5000)}, method))
        data[len(data) // 2] ^= 255
        with Archive(bytes(data), name="set.zip") as archive:
            assert archive.read("a/1") == b"good"
            with pytest.raises(DataError, match=r"'b/1' sound and of its checksum in set\.zip"):
                archive.read("b/1")


def test_what_is_no_whole_archive_is_named(tmp_path: Path) -> None:
    data = packed(FILES)
    path = tmp_path / "set.zip"
    for content in (b"", b"PK", b"no archive at all", data[: len(data) // 2], data[:-1], data[:-30]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"whole ZIP archive: .*set\.zip"):
            Archive(path)
    for missing in (tmp_path / "none.zip", tmp_path, Path("a\0b")):
        with pytest.raises(DataError, match="a ZIP archive at"):
            Archive(missing)
    with pytest.raises(DataError, match="got none"):
        Archive(packed({"a/": b""}))


@given(st.data())
def test_arbitrary_damage_gives_files_or_a_data_error(data: st.DataObject) -> None:
    damaged = bytearray(packed(FILES, data.draw(st.sampled_from([0, 8]))))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(len(damaged) - 3, len(damaged))) :]
    with suppress(DataError), Archive(bytes(damaged)) as archive:
        for name in archive.names:
            with suppress(DataError):
                archive.read(name)


def test_memory_does_not_grow_with_the_contents(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as archive:
        for number in range(200):
            archive.writestr(f"a/{number}", bytes(500_000))
    tracemalloc.start()
    try:
        with Archive(tmp_path / "large.zip") as archive:
            digest = content_sha256(archive.members())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(digest) == 64
    assert peak < 10_000_000


@pytest.mark.real_data
def test_the_real_speech_archive() -> None:
    path = DATA / "free_spoken_digit_dataset.zip"
    with Archive(path, folders=("recordings",)) as archive, zipfile.ZipFile(path) as other:
        assert len(archive.names) == 3000
        assert archive.names[0] == "recordings/0_george_0.wav"
        hashes = sorted((name, hashlib.sha256(other.read(name)).hexdigest()) for name in other.namelist())
        lines = "".join(f"{digest}  {name}\n" for name, digest in hashes)
        assert content_sha256(archive.members()) == hashlib.sha256(lines.encode()).hexdigest()
