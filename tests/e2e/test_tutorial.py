"""The tutorial, followed word by word in an empty folder: commands, files, and what it says one will see.

Nothing is shortened. Only the port is another one, as 8080 may be in use here.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
# Installing is a test's own affair.
FOLLOWED = TUTORIAL[TUTORIAL.index("\n## 1.") :]
BLOCK = re.compile(
    r"(?:[Ss]ave\s+this\s+as\s+`(?P<file>[a-z_]+\.py)`:\n\n)?```(?P<kind>[a-z]+)\n(?P<text>.*?)```\n", re.S
)
PROMISED = [
    *("model.onnx", "pool/pool.json", "pool/result.json", "pool/audit.json", "pool/report.html"),
    *("meter.json", "monitor.json", "seen.png", "dimmed/3/000002.png"),
    *("release/release.json", "device/pool.json"),
]
LONGEST_S = 500


class Terminal:
    """One shell that is typed into, and all that it and its background jobs print."""

    def __init__(self, folder: Path, home: Path) -> None:
        variables = {name: value for name, value in os.environ.items() if name != "OBFNET_DATA"}
        variables |= {
            "OBFNET_HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self._shell = subprocess.Popen(
            ["bash", "-e"],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Its jobs are ended with it, whatever happens.
            start_new_session=True,
        )
        self._printed: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type_in(self, block: str, *, expected: list[str]) -> None:
        """Runs a block; fails where it does, or where the expected lines do not come in their order."""
        at, end = len(self._printed), f"--- {time.monotonic_ns()} ---"
        self._shell.stdin.write(f"{block}\necho '{end}'\n")
        self._shell.stdin.flush()
        deadline = time.monotonic() + LONGEST_S
        while True:
            alive = self._reader.is_alive()
            printed = self._printed[at:]
            missing = first_missing(expected, printed)
            done = end in printed
            # What is started in the background prints when it is ready.
            if done and (missing is None or not block.endswith("&")):
                break
            assert alive, f"{block}\nended the shell:\n" + "\n".join(printed)
            assert time.monotonic() < deadline, f"{block}\ndid not end:\n" + "\n".join(printed)
            time.sleep(0.05)
        assert missing is None, f"{block}\ndid not print {missing!r}:\n" + "\n".join(printed)

    def leave(self) -> int:
        self._shell.stdin.write("wait\n")
        self._shell.stdin.close()
        return self._shell.wait(30)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        self._reader.join(10)
        for pipe in (self._shell.stdin, self._shell.stdout):
            pipe.close()

    def _read(self) -> None:
        for line in self._shell.stdout:
            self._printed.append(line.rstrip("\n"))


def first_missing(expected: list[str], printed: list[str]) -> str | None:
    """The first expected line that does not come after those before it; an ellipsis stands for anything."""
    rest = iter(printed)
    for line in expected:
        form = re.compile(".*".join(re.escape(part) for part in line.split("…")))
        if not any(form.fullmatch(one) for one in rest):
            return line
    return None


@pytest.fixture(scope="module")
def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.fixture(scope="module")
def followed(port: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who did what the tutorial says."""
    if shutil.which("obfnet", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("the command obfnet is not installed beside this Python")
    folder, home = tmp_path_factory.mktemp("tutorial"), tmp_path_factory.mktemp("reader")
    blocks = [found.groupdict() for found in BLOCK.finditer(FOLLOWED.replace("8080", port))]
    terminal = Terminal(folder, home)
    try:
        for block, after in zip(blocks, [*blocks[1:], {"kind": "", "text": ""}], strict=True):
            if block["kind"] == "python":
                (folder / block["file"]).write_text(block["text"])
            elif block["kind"] == "sh":
                shown = after["text"].splitlines() if after["kind"] == "text" else []
                terminal.type_in(block["text"].rstrip("\n"), expected=shown)
        # The server has stopped by now, since the reader stopped it.
        assert terminal.leave() == 0
    finally:
        terminal.close()
    return folder


def test_every_block_is_one_that_can_be_followed():
    assert {found["kind"] for found in BLOCK.finditer(FOLLOWED)} == {"sh", "python", "text"}
    assert len(BLOCK.findall(FOLLOWED)) == FOLLOWED.count("```") / 2
    assert all(found["file"] for found in BLOCK.finditer(FOLLOWED) if found["kind"] == "python")
    lines = [line for found in BLOCK.finditer(TUTORIAL) for line in found["text"].splitlines()]
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("path", PROMISED)
def test_the_promised_files_are_there(followed, path):
    assert (followed / path).stat().st_size > 0


def test_the_figures_that_it_explains_are_in_the_result(followed):
    figures = json.loads((followed / "pool" / "result.json").read_text())
    explained = re.findall(r"^\| (`[^|]+`) \|", TUTORIAL, flags=re.M)
    names = [name for cell in explained for name in re.findall(r"`([a-z_.]+)`", cell)]
    assert "accuracy.device_only" in names
    for name in [*names, "model.classes"]:
        value = figures
        for part in name.split("."):
            value = value[part]
        assert value is not None


def test_the_stand_ins_are_worth_following(followed):
    right = json.loads((followed / "pool" / "result.json").read_text())["accuracy"]
    # Ten classes, so chance is 0.1.
    assert right["raw"] > 0.95
    assert right["obfuscated_worst"] > 0.8


def test_lines_that_are_out_of_order_or_not_there_are_noticed():
    printed = ["label 3 (score -0.2)", "exit code 1"]
    assert first_missing(["label 3 (score …)", "exit code 1"], printed) is None
    assert first_missing(["exit code 1", "label 3 (score …)"], printed) == "label 3 (score …)"
    assert first_missing(["exit code"], printed) == "exit code"
