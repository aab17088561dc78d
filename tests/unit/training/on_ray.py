"""Trains a pool of five in parts of two on Ray, in its own process: `python -m ... INFERENCE OUT [KILLS]`.

While it trains, so many workers are killed, each as soon as a part is delivered or a worker is seen at work.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.fitting import Schedule
from obfnet.training import engine
from obfnet.training.inference import load_inference
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from obfnet.training.ray_engine import CaseSource, RayEngine

POOL = PoolSettings(hidden=12, count=5, schedule=Schedule(epochs=1, batch_size=64, peak_rate=4e-3), seed=3)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Delivering:
    """Says which parts are delivered, and how often."""

    def __init__(self, inner: engine.Engine) -> None:
        self.inner = inner

    def train(self, works: Sequence[engine.Work]) -> None:
        self.inner.train([replace(work, deliver=partial(self.told, work.deliver)) for work in works])

    def told(
        self, deliver: engine.Deliver, numbers: range, networks: Sequence[engine.TrainedNetwork]
    ) -> None:
        print("delivered", numbers.start, flush=True)
        deliver(numbers, networks)


def workers(task: str) -> list[int]:
    """Processes that are at a task of that name now, by the title that Ray gives them."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            title = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        if title.startswith(f"ray::{task}".encode()):
            found.append(int(folder.name))
    return found


def kill(task: str, times: int) -> None:
    """Kills a worker at work, so many times."""
    while times:
        time.sleep(0.2)
        if pids := workers(task):
            os.kill(pids[0], signal.SIGKILL)
            # In one piece: other threads print lines of their own.
            os.write(1, b"\nkilled\n")
            times -= 1
            time.sleep(1.0)


def main(inference: Path, out: Path, kills: int) -> None:
    """Trains the pool."""
    # Not on import: tests are looked for here too, in a process that trains others.
    engine.PART = 2
    digits, network = load_case("digits"), load_inference(inference)
    source = CaseSource.of(digits, network, case="digits")
    if kills < 0:
        # Workers that find another network than the driver has.
        source, kills = replace(source, inference_id="0" * 64), 0
    threading.Thread(target=kill, args=("_train", kills), daemon=True).start()
    trained = RayEngine(source=source, workers=2, progress=Silent())
    train_obfuscation(
        digits,
        network,
        out=out,
        key=KEY,
        settings=POOL,
        engine=Delivering(trained),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
