"""What can go wrong around a demo: it is stopped, killed, started twice, or has nowhere to write."""

import json
import resource
import shutil
import signal

import pytest

from tests.e2e.command import command_line, kill, obfnet, processes_of, start, wait_until
from tests.e2e.conftest import NO_DATA, QUICK

pytestmark = pytest.mark.e2e

DIGITS = (*QUICK, "--case", "digits")


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def limit_files_to(size_bytes):
    """A disk that is full, as far as this process can tell: no file of it grows beyond `size_bytes`."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


@pytest.fixture
def copied(finished_demo, tmp_path):
    return shutil.copytree(finished_demo.folder, tmp_path / "demo")


def test_stopped_then_killed_it_goes_on_and_ends_as_if_nothing_had_been(finished_demo, tmp_path):
    out = tmp_path / "demo"

    # Ctrl-C while the pool is trained.
    demo = start(*DIGITS, "--out", out, without=NO_DATA)
    demo.wait_for("train inference network ...")
    demo.send(signal.SIGSTOP)
    second = obfnet(*DIGITS, "--out", out, without=NO_DATA)
    demo.send(signal.SIGCONT)
    demo.wait_for("train pool")
    demo.send(signal.SIGINT)
    stopped = demo.finish(30)
    assert stopped.code == 130
    assert "stopped" in stopped.complaint
    assert "" not in stopped.err.splitlines()
    assert processes_of(stopped.run) == []
    assert not (out / "result.json").exists()

    # Meanwhile a second demo in the same folder had been refused.
    assert second.code == 1
    assert "at work" in second.complaint

    # Killed while the backend runs: backend and device end by themselves.
    demo = start(*DIGITS, "--out", out, without=NO_DATA)
    assert "inference" in demo.wait_for("reused")
    demo.wait_for("ask the backend")
    assert wait_until(
        lambda: any("obfnet.demo.device" in command_line(pid) for pid in processes_of(demo.run))
    )
    assert any("obfnet.serve" in command_line(pid) for pid in processes_of(demo.run))
    killed = kill(demo)
    assert killed.code == -signal.SIGKILL
    assert wait_until(lambda: processes_of(killed.run) == [])
    assert not (out / "result.json").exists()

    # The third run trains a part again that was damaged meanwhile, and finishes with the networks of a
    # demo that nobody interrupted.
    onnx = out / "inference" / "inference.onnx"
    onnx.write_bytes(onnx.read_bytes()[:-100])
    finished = obfnet(*DIGITS, "--out", out, without=NO_DATA)
    assert finished.code == 0, finished.err
    assert [line.split(":")[0] for line in finished.err.splitlines() if "reused" in line] == ["pool"]
    for part in ("inference", "pool"):
        assert content_of(out / part) == content_of(finished_demo.folder / part)
    figures = json.loads((out / "result.json").read_text())
    assert figures["accuracy"] == finished_demo.figures["accuracy"]
    assert figures["leakage"] == finished_demo.figures["leakage"]


def test_a_folder_with_other_content_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    outcome = obfnet(*DIGITS, "--out", tmp_path)
    assert outcome.code == 1
    assert "other files" in outcome.complaint
    assert content_of(tmp_path) == {"thesis.txt": b"years of work"}


def test_another_command_s_output_is_refused_untouched(coordinator):
    before = content_of(coordinator.pool)
    outcome = obfnet(*DIGITS, "--out", coordinator.pool)
    assert outcome.code == 1
    assert "'obfnet pool'" in outcome.complaint
    assert content_of(coordinator.pool) == before


def test_a_file_as_output_folder_is_refused_untouched(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    outcome = obfnet(*DIGITS, "--out", file)
    assert outcome.code == 1
    assert str(file) in outcome.complaint
    assert file.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_one_line():
    outcome = obfnet(*DIGITS, "--out", "/proc/obfnet-demo")
    assert outcome.code == 1
    assert "/proc/obfnet-demo" in outcome.complaint
    assert "--out" in outcome.complaint


@pytest.mark.parametrize("size_bytes", [0, 2000])
def test_a_full_disk_is_one_line_and_the_former_result_stays(copied, size_bytes):
    before = content_of(copied)
    outcome = obfnet(*DIGITS, "--out", copied, without=NO_DATA, preexec=limit_files_to(size_bytes))
    assert outcome.code == 1
    assert "File too large" in outcome.complaint
    after = content_of(copied)
    before.pop(".obfnet-output")
    after.pop(".obfnet-output")
    assert after.keys() == before.keys()
    for name in ("result.json", "report.html", "pool/pool.json", "inference/inference.onnx"):
        assert after[name] == before[name]
    assert processes_of(outcome.run) == []


def test_a_disk_that_fills_up_in_training_leaves_no_half_network(tmp_path):
    out = tmp_path / "inference"
    arguments = ("train", "inference", "--case", "digits", "--epochs", "1", "--out", out)
    outcome = obfnet(*arguments, preexec=limit_files_to(50_000))
    assert outcome.code == 1
    assert "File too large" in outcome.complaint
    assert not out.exists()
