"""Trains in a process of its own that kills itself with SIGKILL in the middle: `python -m ... KIND OUT STEP`.

KIND is `inference`, or the folder of an inference network, against which a pool is trained.
"""

import os
import signal
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.fitting import Checkpoint, Schedule
from obfnet.training.inference import load_inference, train_inference
from obfnet.training.obfuscation import PoolSettings, train_obfuscation

# Short, so that a test is; long enough for the learning rate to rise, peak and fall.
SCHEDULE = Schedule(epochs=1, batch_size=64, peak_rate=4e-3)
POOL = PoolSettings(hidden=12, count=2, schedule=SCHEDULE, seed=3)


class Killer(Silent):
    """Ends the process without any notice when a step is done."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, done: int, note: str = "") -> None:
        if done == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(kind: str, out: Path, step: int) -> None:
    """Trains until it is killed."""
    # Every step is saved: the run is far shorter than the usual time between two saves.
    Checkpoint.__init__.__kwdefaults__["every_s"] = 0.0
    digits, killer = load_case("digits"), Killer(step)
    if kind == "inference":
        train_inference(digits, out=out, architecture="cnn", schedule=SCHEDULE, seed=3, progress=killer)
    else:
        key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        network = load_inference(Path(kind))
        train_obfuscation(digits, network, out=out, key=key, settings=POOL, progress=killer)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
