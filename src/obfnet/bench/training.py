"""What a pool costs to train, against as many plain runs of the released schedule, timed in the same go.

A plain run is the released code's loop put into torch: one network, batch 128, Adam at 1e-3, 14 epochs,
the frozen network in the default memory layout. Running sixteen of those takes hours, so slices of one
are timed before, between and after the parts of the pool's training, and scaled to their full length.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from obfnet.bench.spread import spread
from obfnet.bundle import Trust, load_or_create_coordinator_key, public_key_text, read_pool
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.data.case import Dataset
from obfnet.data.rows import mapped
from obfnet.data.table import Split
from obfnet.edge import ObfuscationSession
from obfnet.nets import INFERENCE_ARCHITECTURES
from obfnet.nets.obfuscation import ObfuscationMLP
from obfnet.training.classifier import accuracy, unit_tensor
from obfnet.training.inference import InferenceNetwork
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from obfnet.training.recipes import obfuscation_schedule

RELEASED_EPOCHS: Final = 14
RELEASED_BATCH: Final = 128
_SLICE_STEPS: Final = 40
_SLICE_EVERY_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class TrainingBenchmark:
    """What to train.

    Args:
        count: Networks in the pool, K.
        epochs: Passes of each network over the training samples.
        seed: Of everything random.
    """

    count: int
    epochs: float
    seed: int


def bench_training(
    benchmark: TrainingBenchmark,
    dataset: Dataset,
    inference: InferenceNetwork,
    *,
    folder: Path,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    """Trains a pool and compares its time with plain runs; test accuracy is computed once, at the end.

    Args:
        benchmark: What to train.
        dataset: Its test split gives the accuracies, and nothing else.
        inference: The frozen network.
        folder: For the pool; should be new, since a pool that is reused costs nothing.
        progress: Told of every step.
        command: For the result file.

    Returns:
        The result, JSON-ready: seconds of both, their ratio, accuracies.
    """
    watch = _Interleaved(progress, dataset, inference)
    settings = PoolSettings(
        count=benchmark.count,
        schedule=obfuscation_schedule(dataset.spec, epochs=benchmark.epochs),
        seed=benchmark.seed,
    )
    watch.time_slice()
    begun = time.monotonic()
    trained = train_obfuscation(
        dataset,
        inference,
        out=folder,
        key=load_or_create_coordinator_key(),
        settings=settings,
        progress=watch,
    )
    pool_s = time.monotonic() - begun - watch.inside_s
    watch.time_slice()
    steps = RELEASED_EPOCHS * len(dataset.train.labels) / RELEASED_BATCH
    plain_s = [benchmark.count * steps * step_s for step_s in watch.step_s]
    each = _test_accuracies(dataset, inference, folder)
    return {
        "command": command,
        "case": dataset.spec.name,
        "count": benchmark.count,
        "epochs": benchmark.epochs,
        "reused": trained.reused,
        "accuracy": {
            "raw": accuracy(inference.network, dataset.test),
            "obfuscated": float(np.mean(each)),
            "obfuscated_worst": min(each),
            "obfuscated_each": each,
            "validation_each": list(trained.validation_accuracy),
        },
        "seconds": {"pool": round(pool_s, 1), "plain_runs_estimated": spread(plain_s)},
        "ratio": spread([pool_s / seconds for seconds in plain_s], digits=3),
        "plain_run": {
            "epochs": RELEASED_EPOCHS,
            "batch_size": RELEASED_BATCH,
            "step_ms": spread([1e3 * step_s for step_s in watch.step_s]),
            "note": f"slices of {_SLICE_STEPS} steps, timed between the pool's steps, scaled to full runs",
        },
        "seed": benchmark.seed,
        **provenance(),
    }


class _Interleaved:
    """Passes progress on, and times a slice of a plain run every so often in between."""

    def __init__(self, progress: Progress, dataset: Dataset, inference: InferenceNetwork) -> None:
        self._progress = progress
        self._samples, self._labels = dataset.train.samples, torch.tensor(dataset.train.labels)
        card = inference.card
        shape = (card.input.shape[0], card.input.shape[1], card.input.shape[2])
        plain = INFERENCE_ARCHITECTURES.get(card.architecture)(shape, len(card.classes))
        plain.load_state_dict(inference.network.state_dict())
        # The default memory layout, which the released code's loop has.
        self._inference = plain.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)  # type: ignore[call-overload]
        self._shape = shape
        self._due_at = time.monotonic() + _SLICE_EVERY_S
        self.inside_s = 0.0
        self.step_s: list[float] = []

    def start(self, task: str, total: int) -> None:
        self._progress.start(task, total)

    def advance(self, done: int, note: str = "") -> None:
        self._progress.advance(done, note)
        if time.monotonic() >= self._due_at:
            begun = time.monotonic()
            self.time_slice()
            self.inside_s += time.monotonic() - begun
            self._due_at = time.monotonic() + _SLICE_EVERY_S

    def part(self, name: str, done: int, total: int, note: str = "") -> None:
        self._progress.part(name, done, total, note)

    def finish(self, note: str = "") -> None:
        self._progress.finish(note)

    def say(self, line: str) -> None:
        self._progress.say(line)

    def time_slice(self) -> None:
        """Times some steps of a plain run on a network of its own; leaves torch's random state alone."""
        with torch.random.fork_rng():
            network = ObfuscationMLP(self._shape, 100)
            optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
            order = torch.randperm(len(self._labels))
        both = nn.Sequential(network, self._inference)
        for step in range(_SLICE_STEPS + 3):
            if step == 3:
                begun = time.monotonic()
            batch = order[step * RELEASED_BATCH : (step + 1) * RELEASED_BATCH]
            optimiser.zero_grad()
            functional.cross_entropy(
                both(unit_tensor(self._samples[batch.numpy()])), self._labels[batch]
            ).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        self.step_s.append((time.monotonic() - begun) / _SLICE_STEPS)


def _test_accuracies(dataset: Dataset, inference: InferenceNetwork, folder: Path) -> list[float]:
    trust = Trust(explicit=(public_key_text(load_or_create_coordinator_key()),))
    test = dataset.test
    return [
        accuracy(
            inference.network,
            Split(samples=mapped(test.samples, ObfuscationSession(bundle).obfuscate), labels=test.labels),
        )
        for bundle in read_pool(folder, trust=trust).bundles
    ]
