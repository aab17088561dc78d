"""Output folders: claimed by one command at a time, never mixed with what is not ours."""

import os
import subprocess
import sys

import pytest

from obfnet.core.errors import OutputError
from obfnet.core.files import canonical_json, claim_output, write_atomic, write_json

MARKER = ".obfnet-output"


def test_a_missing_folder_is_made_and_belongs_to_its_kind(tmp_path):
    folder = tmp_path / "a" / "b"
    with claim_output(folder, kind="demo"):
        (folder / "result").write_text("x")
    with claim_output(folder, kind="demo"):
        pass
    with pytest.raises(OutputError, match="'obfnet demo'"), claim_output(folder, kind="pool"):
        pass


def test_other_content_is_refused(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="other files"), claim_output(tmp_path, kind="demo"):
        pass
    assert os.listdir(tmp_path) == ["mine"]


def test_a_folder_in_use_is_refused_until_it_is_left(tmp_path):
    with (
        claim_output(tmp_path, kind="demo"),
        pytest.raises(OutputError, match="at work"),
        claim_output(tmp_path, kind="demo"),
    ):
        pass
    with claim_output(tmp_path, kind="demo"):
        pass


def test_the_end_of_a_killed_process_frees_its_folder(tmp_path):
    code = "import os, sys; from pathlib import Path; from obfnet.core.files import claim_output\n"
    code += "with claim_output(Path(sys.argv[1]), kind='demo'): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    with claim_output(tmp_path, kind="demo"):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_before_anything_was_written_leaves_the_folder_as_it_was(tmp_path, error):
    new, empty = tmp_path / "new", tmp_path / "empty"
    empty.mkdir()
    for folder in (new, empty):
        with pytest.raises(error), claim_output(folder, kind="demo"):
            raise error
    assert not new.exists()
    assert list(empty.iterdir()) == []


def test_a_failure_after_something_was_written_keeps_it(tmp_path):
    def fail_late():
        with claim_output(tmp_path, kind="demo"):
            (tmp_path / "checkpoint").write_text("half")
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        fail_late()
    assert {path.name for path in tmp_path.iterdir()} == {MARKER, "checkpoint"}


def test_a_file_is_replaced_whole_and_with_its_mode(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomic(path, "first")
    write_atomic(path, b"second", mode=0o600)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["file"]


def test_what_cannot_be_written_leaves_the_former_file_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "former")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomic(path, "new")
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["file"]


def test_json_is_never_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("inf"))
    assert list(tmp_path.iterdir()) == []
