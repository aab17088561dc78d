"""Trains the parts of a pool on Ray: on this machine, or on a cluster that is there already.

A worker that dies loses the part that it was at, which another one begins again. What comes out for a pool of
more than one part is the same byte for byte as without a cluster, on processors of one kind. The
coordinator's key stays with the driver: workers give back networks, and sign nothing.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self, final

import torch

from obfnet.core.errors import MissingExtraError, ObfNetError, TrainingError, UsageError
from obfnet.core.progress import Progress, Silent
from obfnet.data.case import Dataset
from obfnet.data.cases import load_case
from obfnet.fitting import Checkpoint
from obfnet.training.engine import Deliver
from obfnet.training.inference import InferenceNetwork, load_inference
from obfnet.training.part import TrainedNetwork, train_part
from obfnet.training.pool_plan import PoolPlan

_LOOK_EVERY_S: Final = 1.0
# A part that kills its worker each time must come to an end.
_RETRIES: Final = 100
_SILENT: Final = "critical"
_CONNECT_S: Final = 5.0


@final
@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a worker finds what it trains with.

    Args:
        case: Name, folder or CSV file, as `load_case` takes it.
        split: Likewise.
        skip_bad: Likewise.
        data_dir: Likewise.
        inference: Folder of the inference network.
        fingerprint: What the data set must have, or a worker's is another one.
        inference_id: Likewise, of the inference network.
        torch: Likewise, torch's version.
    """

    case: str
    split: str | None = None
    skip_bad: bool = False
    data_dir: Path | None = None
    inference: Path
    fingerprint: str
    inference_id: str
    torch: str = torch.__version__

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
            case=str(Path(case).absolute()) if Path(case).exists() else case,
            split=dataset.split,
            skip_bad=skip_bad,
            data_dir=None if data_dir is None else data_dir.absolute(),
            inference=inference.folder.absolute(),
            fingerprint=dataset.fingerprint,
            inference_id=inference.card.id,
        )


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

    def train(
        self, plan: PoolPlan, parts: Sequence[range], deliver: Deliver, *, checkpoint: Checkpoint
    ) -> None:
        """As `Engine.train`; there are no checkpoints within a part.

        Raises:
            UsageError: no cluster at the address, or one of another version.
            MissingExtraError: Ray is not installed.
        """
        if not parts:
            return
        networks = sum(map(len, parts))
        with _cluster(self.address, self.workers) as ray:
            self.progress.start(f"train {networks} of {plan.count} obfuscation networks on Ray", networks)
            task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_train)
            waiting = {task.remote(self.source, plan, tuple(numbers)): numbers for numbers in parts}
            done = 0
            while waiting:
                finished, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK_EVERY_S)
                for reference in finished:
                    numbers = waiting.pop(reference)
                    deliver(numbers, _result(ray, reference))
                    done += len(numbers)
                cores = int(ray.cluster_resources().get("CPU", 0))
                note = f"{len(waiting)} parts left, {min(cores, len(waiting))} at work"
                self.progress.advance(done, note)
            self.progress.finish()


def _train(source: Source, plan: PoolPlan, numbers: tuple[int, ...]) -> list[TrainedNetwork]:
    dataset, inference = _loaded(source)
    return train_part(dataset, inference, plan, numbers, progress=Silent(), place="cpu", cores=1)


@lru_cache(maxsize=1)
def _loaded(source: Source) -> tuple[Dataset, InferenceNetwork]:
    dataset = load_case(source.case, split=source.split, skip_bad=source.skip_bad, data_dir=source.data_dir)
    inference = load_inference(source.inference)
    wanted = (source.fingerprint, source.inference_id, source.torch)
    found = (dataset.fingerprint, inference.card.id, torch.__version__)
    for name, want, have in zip(("data set", "inference network", "torch"), wanted, found, strict=True):
        if want != have:
            raise TrainingError(
                f"the driver's {name} ({want[:12]}) on every worker", have[:12], "bring the same files there"
            )
    return dataset, inference


def _result(ray: Any, reference: Any) -> list[TrainedNetwork]:
    try:
        result: list[TrainedNetwork] = ray.get(reference)
        return result
    except ray.exceptions.RayTaskError as exc:
        if isinstance(exc.cause, ObfNetError):
            raise exc.cause from exc
        got = f"{type(exc.cause).__name__}: {exc.cause}"
        raise TrainingError("a part that a worker can train", got, "see the worker's log") from exc
    except ray.exceptions.OutOfMemoryError as exc:
        raise TrainingError(
            "workers with enough memory", "one that was stopped for want of it", "lower --workers"
        ) from exc
    except ray.exceptions.RayError as exc:
        raise TrainingError(
            "a worker that ends its part", type(exc).__name__, "run it again: finished parts are kept"
        ) from exc


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    # Nothing is reported to anybody, and nobody is asked whether it may be.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as exc:
        raise MissingExtraError(exc.name or "ray", "ray") from exc
    if address is not None:
        _check_reachable(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": _SILENT, "configure_logging": True}
    try:
        if address is None:
            count = workers or os.cpu_count() or 1
            ray.init(address="local", num_cpus=count, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except ConnectionError as exc:
        raise _unreachable(address) from exc
    except (RuntimeError, ValueError) as exc:
        line = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise UsageError(
            "a Ray cluster of this version of Ray and Python", line, "update one of them, or check --address"
        ) from exc
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises where nobody listens; Ray itself would ask again for minutes, and write about it."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto" or not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, ValueError, OverflowError) as exc:
        raise _unreachable(address) from exc


def _unreachable(address: str | None) -> UsageError:
    return UsageError(f"a Ray cluster at {address}", "none that answers", "check --address, or leave it out")
