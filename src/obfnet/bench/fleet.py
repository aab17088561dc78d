"""Training of a fleet measured: Ray beside this process, workers that are killed, and a driver that is.

Every training is the command that a user types, in a process of its own, one after the other; local and Ray
take turns. Only ratios mean anything.
"""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from obfnet.core.errors import OutputError, TrainingError
from obfnet.core.files import sha256_hex
from obfnet.core.progress import Progress
from obfnet.core.result import provenance

_MARK: Final = "OBFNET_BENCH_RUN"
_TASK: Final = b"ray::_train"
_LOOK_EVERY_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class FleetBenchmark:
    """What to run.

    Args:
        count: Networks of the pools that Ray and this process are compared by.
        runs: How often each is trained.
        many: Networks of the pool whose workers and driver are killed; 0 leaves that out.
        kill_every_s: A worker at random is killed so often.
        workers: Tasks at once.
        epochs: Passes over the training samples.
        seed: Of the networks.
    """

    count: int = 64
    runs: int = 3
    many: int = 1_000
    kill_every_s: float = 20.0
    workers: int = 2
    epochs: float = 2.0
    seed: int = 0


def bench_fleet(
    benchmark: FleetBenchmark,
    *,
    case: str,
    inference: Path,
    work: Path,
    data_dir: Path | None,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    """Trains pools on Ray and without, undisturbed and disturbed.

    Args:
        benchmark: What to run.
        case: Whose samples.
        inference: Folder of the inference network.
        work: New folder for the pools.
        data_dir: Folder with the data sets, or None.
        progress: Told of every training.
        command: For the result file.

    Returns:
        The result, JSON-ready.

    Raises:
        TrainingError: a training failed.
        OutputError: there are pools in `work` already.
    """
    if any(work.glob("*/pool.json")):
        raise OutputError(
            f"no pools in {work} before they are trained and timed",
            "some, which would be reused",
            "give another --work",
        )
    arguments = ["--case", case, "--inference", str(inference), "--epochs", str(benchmark.epochs)]
    arguments += ["--seed", str(benchmark.seed)]
    if data_dir is not None:
        arguments += ["--data-dir", str(data_dir)]
    on_ray = ["--engine", "ray", "--workers", str(benchmark.workers)]
    times: dict[str, list[float]] = {"local": [], "ray": []}
    pools: list[dict[str, str]] = []
    for run in range(benchmark.runs):
        for name, options in (("local", []), ("ray", on_ray)):
            progress.say(f"{benchmark.count} networks, {name}, run {run + 1} of {benchmark.runs}")
            folder = work / f"{name}-{run}"
            training = _Training([*arguments, *options, "--count", str(benchmark.count)], folder)
            times[name].append(training.finish())
            pools.append(_bytes_of(folder))
    result: dict[str, Any] = {
        "command": command,
        "count": benchmark.count,
        "workers": benchmark.workers,
        "runs": benchmark.runs,
        "seconds": times,
        "throughput_ratio": [local / ray for local, ray in zip(times["local"], times["ray"], strict=True)],
        "throughput_ratio_median": statistics.median(
            local / ray for local, ray in zip(times["local"], times["ray"], strict=True)
        ),
        "same_bytes": all(pool == pools[0] for pool in pools),
    }
    if benchmark.many:
        many = [*arguments, *on_ray, "--count", str(benchmark.many)]
        result |= _disturbed(benchmark, many, work, progress)
    return {**result, "seed": benchmark.seed, **provenance()}


def _disturbed(
    benchmark: FleetBenchmark, many: Sequence[str], work: Path, progress: Progress
) -> dict[str, Any]:
    progress.say(f"{benchmark.many} networks, undisturbed")
    plain = _Training(many, work / "many").finish()
    wanted = _bytes_of(work / "many")
    progress.say(f"{benchmark.many} networks, a worker killed every {benchmark.kill_every_s:g} s")
    training = _Training(many, work / "killed")
    killer = _Killer(training, benchmark.kill_every_s)
    disturbed = training.finish()
    kills = killer.stop()
    progress.say(f"{benchmark.many} networks, the driver killed half way")
    training = _Training(many, work / "driver")
    there = training.kill_when_half_done(benchmark.many)
    again = _Training(many, work / "driver")
    again.finish()
    return {
        "many": benchmark.many,
        "kill_every_s": benchmark.kill_every_s,
        "workers_killed": kills,
        "seconds_undisturbed": plain,
        "seconds_disturbed": disturbed,
        "time_ratio": disturbed / plain,
        "bundles_undisturbed": len(wanted) - 1,
        "same_bytes_disturbed": _bytes_of(work / "killed") == wanted,
        "driver_finished_before": there,
        "driver_reused": again.reused(),
        "same_bytes_driver": _bytes_of(work / "driver") == wanted,
    }


class _Training:
    """The command at work, in a session of its own."""

    def __init__(self, arguments: Sequence[str], out: Path) -> None:
        self.out, self.mark, self.lines = out, uuid.uuid4().hex, list[str]()
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "obfnet", "train", "obfuscation", *arguments, "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, _MARK: self.mark},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self.process.stderr or nullcontext(()) as said:
            self.lines += [line.strip() for line in said]

    def finish(self) -> float:
        """Seconds that it took."""
        code = self.process.wait()
        self._reader.join()
        if code:
            raise TrainingError(
                "a training that ends well", self.lines[-1] if self.lines else f"exit code {code}", "mend it"
            )
        return time.monotonic() - self.begun

    def kill_when_half_done(self, count: int) -> int:
        """Kills the driver, and says how many networks were kept by then."""
        while self.process.poll() is None and self._kept() < count // 2:
            time.sleep(_LOOK_EVERY_S)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        return self._kept()

    def _kept(self) -> int:
        return sum(
            len(list(part.parent.glob("*.obfnet"))) for part in (self.out / ".parts").glob("*/part.json")
        )

    def reused(self) -> int:
        """How many networks it said to have found."""
        said = [line.split() for line in self.lines if line.endswith("networks are there, reused")]
        return int(said[0][said[0].index("of") - 1]) if said else 0

    def workers(self) -> list[int]:
        """Processes that are at a part of it now."""
        mark, found = f"{_MARK}={self.mark}".encode(), []
        for folder in Path("/proc").iterdir():
            try:
                if (
                    folder.name.isdigit()
                    and (folder / "cmdline").read_bytes().startswith(_TASK)
                    and mark in (folder / "environ").read_bytes()
                ):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


class _Killer:
    """Kills a worker from time to time until it is stopped."""

    def __init__(self, training: _Training, every_s: float) -> None:
        self._training, self._every_s, self._kills = training, every_s, 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            if pids := self._training.workers():
                # Any of them: which one is a matter of the time.
                os.kill(pids[time.monotonic_ns() % len(pids)], signal.SIGKILL)
                self._kills += 1

    def stop(self) -> int:
        """How many it killed."""
        self._stopped.set()
        self._thread.join()
        return self._kills


def _bytes_of(pool: Path) -> dict[str, str]:
    names = [*pool.glob("*.obfnet"), pool / "pool.json"]
    return {path.name: sha256_hex(path.read_bytes()) for path in names}
