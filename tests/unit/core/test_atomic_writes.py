"""Atomic writes under real faults: a full disk, an interrupt, a killed process, a folder that is none."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from obfnet.core.errors import OutputError
from obfnet.core.files import canonical_json, sha256_hex, write_atomic, write_json

# The kernel cuts a file at the limit as it does on a full disk; the signal it sends besides is ignored.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from obfnet.core.errors import OutputError
from obfnet.core.files import write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path(sys.argv[1]), bytes(5000))
except OutputError as error:
    print(error)
"""
ENDLESS = """
import sys
from pathlib import Path
from obfnet.core.files import write_atomic
print("go", flush=True)
while True:
    for value in (b"a", b"b"):
        write_atomic(Path(sys.argv[1]), value * 200_000)
"""


def test_on_a_full_disk_the_former_file_stays_and_no_draft_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "former")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, check=True, text=True)
    assert "(5000 bytes), got File too large; free space" in done.stdout
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupt_leaves_the_former_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, "former")

    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["file"]


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while not path.exists():
            time.sleep(0.01)
        time.sleep(0.1)
        writer.send_signal(signal.SIGKILL)
    assert path.read_bytes() in (b"a" * 200_000, b"b" * 200_000)


def test_a_folder_that_cannot_be_one_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="give another folder"):
        write_atomic(tmp_path / "file" / "deeper", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        write_atomic(tmp_path / "folder", "x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_new_file_is_readable_by_all_and_a_secret_one_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    replace = os.replace

    def watched(source: str, target: Path) -> None:
        modes.append(os.stat(source).st_mode & 0o777)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write_atomic(tmp_path / "open", "x")
    write_atomic(tmp_path / "secret", "x", mode=0o600)
    assert modes == [0o644, 0o600]
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("open", "secret")] == [0o644, 0o600]


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'.encode()
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


def test_json_for_people_ends_with_a_line_break(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"name": "é"})
    assert json.loads((tmp_path / "file").read_text(encoding="utf-8")) == {"name": "é"}
    assert (tmp_path / "file").read_text(encoding="utf-8").endswith("}\n")


def test_the_hash_is_the_published_one() -> None:
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
