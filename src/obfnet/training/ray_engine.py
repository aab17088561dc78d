"""Trains the parts of pools on Ray: on this machine, or on a cluster that is there already.

A worker that dies loses the part that it was at, which another one begins again. What comes out for a pool of
more than one part is the same byte for byte as without a cluster, on processors of one kind. The
coordinator's key stays with the driver: workers give back networks, and sign nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, final

import torch

from obfnet.core.errors import TrainingError
from obfnet.core.progress import Progress, Silent
from obfnet.core.spec import InputSpec
from obfnet.data.case import Dataset
from obfnet.data.cases import CASES, load_case
from obfnet.fitting.cluster import LOOK_EVERY_S, RETRIES, at_work, check_same, cluster, result_of
from obfnet.training.engine import Work
from obfnet.training.inference import InferenceNetwork, load_inference
from obfnet.training.part import TrainedNetwork, train_part
from obfnet.training.pool_plan import PoolPlan


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where a worker finds what it trains with.

    Args:
        fingerprint: What the data set must have, or a worker's is another one.
        inference_id: Likewise, of the inference network.
        wire: Likewise, what it takes.
        torch: Likewise, torch's version.
    """

    fingerprint: str
    inference_id: str
    wire: InputSpec
    torch: str = torch.__version__

    @abstractmethod
    def load(self) -> tuple[Dataset, InferenceNetwork]:
        """Data set and inference network, from files that are the same on every machine of the cluster."""


@final
@dataclass(frozen=True, kw_only=True)
class CaseSource(Source):
    """A case, and an inference network in its folder.

    Args:
        case: Name, folder or CSV file, as `load_case` takes it.
        split: Likewise.
        skip_bad: Likewise.
        data_dir: Likewise.
        inference: Folder of the inference network.
    """

    case: str
    split: str | None = None
    skip_bad: bool = False
    data_dir: Path | None = None
    inference: Path

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        inference: InferenceNetwork,
        *,
        case: str,
        skip_bad: bool = False,
        data_dir: Path | None = None,
    ) -> Self:
        """Where workers find the same that this process has.

        Args:
            dataset: The loaded case.
            inference: As it lies in its folder.
            case: As `load_case` took it; a path is made absolute.
            skip_bad: Likewise.
            data_dir: Likewise.
        """
        return cls(
            case=absolute(case),
            split=dataset.split,
            skip_bad=skip_bad,
            data_dir=None if data_dir is None else data_dir.absolute(),
            inference=inference.folder.absolute(),
            fingerprint=dataset.fingerprint,
            inference_id=inference.card.id,
            wire=inference.card.input,
        )

    def load(self) -> tuple[Dataset, InferenceNetwork]:
        """As `Source.load`."""
        dataset = load_case(self.case, split=self.split, skip_bad=self.skip_bad, data_dir=self.data_dir)
        return dataset, load_inference(self.inference)


def absolute(name: str) -> str:
    """A path as workers find it, who run elsewhere; a case's name, or what is no path, as it is."""
    return str(Path(name).absolute()) if name not in CASES.names() and Path(name).exists() else name


@final
@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Trains parts as tasks of Ray, one core each.

    Args:
        source: The same files on every machine of the cluster.
        address: Of a cluster; None starts one on this machine for as long as the training takes.
        workers: Tasks at once on this machine; None takes its cores.
        progress: Told of every part.
    """

    source: Source
    address: str | None = None
    workers: int | None = None
    progress: Progress

    def train(self, works: Sequence[Work]) -> None:
        """As `Engine.train`, those of all pools at once; there are no checkpoints within a part.

        Raises:
            UsageError: no cluster at the address, or one of another version.
            MissingExtraError: Ray is not installed.
        """
        parts = [(work, numbers) for work in works for numbers in work.parts]
        if not parts:
            return
        networks, wanted = sum(len(numbers) for _, numbers in parts), sum(work.plan.count for work in works)
        with cluster(self.address, self.workers) as ray:
            self.progress.start(f"train {networks} of {wanted} obfuscation networks on Ray", networks)
            task = ray.remote(num_cpus=1, max_retries=RETRIES)(_train)
            waiting = {task.remote(self.source, part[0].plan, tuple(part[1])): part for part in parts}
            done = 0
            rows = {work: _Row(work) for work in works if work.parts}
            for work, row in rows.items():
                self.progress.part(work.name, row.done, work.plan.count)
            while waiting:
                finished, _ = ray.wait(list(waiting), num_returns=1, timeout=LOOK_EVERY_S)
                for reference in finished:
                    work, numbers = waiting.pop(reference)
                    row = rows[work]
                    try:
                        trained = result_of(ray, reference, task="part", error=TrainingError)
                    except TrainingError as exc:
                        work.fail(exc)
                        _drop(ray, waiting, work)
                        row.note = "failed"
                    else:
                        work.deliver(numbers, trained)
                        row.add(trained)
                        done += len(numbers)
                    self.progress.part(work.name, row.done, work.plan.count, row.note)
                note = f"{len(waiting)} parts left, {at_work(ray, len(waiting))} at work"
                self.progress.advance(done, note)
            self.progress.finish()


class _Row:
    """How far a pool is: networks that are trained, and how right the worst of them is."""

    def __init__(self, work: Work) -> None:
        self.worst, self.note = 1.0, ""
        self.done = work.plan.count - sum(map(len, work.parts))

    def add(self, trained: Sequence[TrainedNetwork]) -> None:
        self.done += len(trained)
        self.worst = min(self.worst, *(network.validation_accuracy for network in trained))
        self.note = f"worst of these {self.worst:.1%} of validation samples"


def _drop(ray: Any, waiting: dict[Any, tuple[Work, range]], failed: Work) -> None:
    for reference in [one for one, (work, _) in waiting.items() if work is failed]:
        del waiting[reference]
        ray.cancel(reference)


def _train(source: Source, plan: PoolPlan, numbers: tuple[int, ...]) -> list[TrainedNetwork]:
    dataset, inference = _loaded(source)
    return train_part(dataset, inference, plan, numbers, progress=Silent(), place="cpu", cores=1)


@lru_cache(maxsize=1)
def _loaded(source: Source) -> tuple[Dataset, InferenceNetwork]:
    dataset, inference = source.load()
    check_same(
        {
            "data set": source.fingerprint,
            "inference network": source.inference_id,
            "input of it": str(source.wire),
            "torch": source.torch,
        },
        {
            "data set": dataset.fingerprint,
            "inference network": inference.card.id,
            "input of it": str(inference.card.input),
            "torch": torch.__version__,
        },
        error=TrainingError,
    )
    return dataset, inference
