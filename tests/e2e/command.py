"""The command `obfnet` as a user runs it: a real process, what it said, and what it left running."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

RUN = "OBFNET_TEST_RUN"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished command left."""

    code: int
    out: str
    err: str
    run: str

    @property
    def complaint(self) -> str:
        """The one line of a failure, which is the last on stderr."""
        assert "Traceback" not in self.err, self.err
        ours = [line for line in self.err.splitlines() if line.startswith("obfnet: ")]
        assert len(ours) == 1, self.err
        assert self.err.splitlines()[-1] == ours[0], self.err
        assert "internal error" not in ours[0]
        return ours[0].removeprefix("obfnet: ")


@dataclass(kw_only=True)
class Running:
    """A command at work; its stderr is read while it runs."""

    process: subprocess.Popen
    run: str
    lines: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)
    readers: list[threading.Thread] = field(default_factory=list)

    def wait_for(self, text: str, timeout_s: float = 60) -> str:
        """The first line on stderr or stdout that holds `text`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            for line in [*self.lines, *self.out]:
                if text in line:
                    return line
            assert not ended, f"it ended with {self.process.returncode}: {self.lines}"
            time.sleep(0.01)
        raise AssertionError(f"{text!r} was not said: {self.lines}")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def finish(self, timeout_s: float = 300) -> Outcome:
        try:
            code = self.process.wait(timeout_s)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        for reader in self.readers:
            reader.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
        return Outcome(code=code, out="".join(self.out), err="".join(self.lines), run=self.run)


def start(*arguments, env=None, without=(), prelude="", preexec=None) -> Running:
    """Starts `obfnet ARGUMENTS`.

    Args:
        env: Variables to add.
        without: Variables to leave out.
        prelude: Python that runs in the process before the command does.
        preexec: Runs in the child before it becomes the command.
    """
    run = uuid.uuid4().hex
    variables = {name: value for name, value in os.environ.items() if name not in without}
    # Two threads that wait for each other in turn are many times slower than one where cores are shared.
    variables.update({"OMP_NUM_THREADS": "1", **(env or {}), RUN: run})
    entry = ["-m", "obfnet"]
    if prelude:
        entry = ["-c", f"{prelude}\nfrom obfnet.cli.main import main\nmain()"]
    process = subprocess.Popen(
        [sys.executable, *entry, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
        preexec_fn=preexec,  # noqa: PLW1509 - it only sets a limit
    )
    running = Running(process=process, run=run)

    def follow(pipe, lines):
        for line in pipe:
            lines.append(line)

    for pipe, lines in ((process.stderr, running.lines), (process.stdout, running.out)):
        reader = threading.Thread(target=follow, args=(pipe, lines), daemon=True)
        reader.start()
        running.readers.append(reader)
    return running


def obfnet(*arguments, timeout_s=300, **options) -> Outcome:
    """Runs `obfnet ARGUMENTS` to its end; options as for `start`."""
    return start(*arguments, **options).finish(timeout_s)


def obfnet_each(calls: dict[str, tuple], **options) -> dict[str, Outcome]:
    """Runs several commands, a few at a time; name to arguments in, name to outcome out."""
    with ThreadPoolExecutor(3) as pool:
        running = {name: pool.submit(obfnet, *arguments, **options) for name, arguments in calls.items()}
    return {name: future.result() for name, future in running.items()}


def processes_of(run: str) -> list[int]:
    """The processes of a command that still run, itself and children, by a mark in their environment."""
    mark, found = f"{RUN}={run}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark in (folder / "environ").read_bytes() and not _is_zombie(folder):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def wait_until(condition, timeout_s=20) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def kill(running: Running) -> Outcome:
    """Ends a command as the kernel does when memory runs out."""
    running.send(signal.SIGKILL)
    return running.finish()


def _is_zombie(folder: Path) -> bool:
    return (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
