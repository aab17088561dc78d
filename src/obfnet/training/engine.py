"""Where the networks of pools are trained: part by part, here or on a cluster, with the same result.

A part that is finished is on disk before the next one counts as begun, so that a killed driver trains what
was missing and nothing else.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol, final

import torch

from obfnet.bundle import SUFFIX, Trust, read_bundle
from obfnet.core.errors import BundleError, OutputError, TrainingError
from obfnet.core.files import sha256_hex, write_atomic, write_json
from obfnet.core.progress import Progress
from obfnet.data.case import Dataset
from obfnet.fitting import Checkpoint
from obfnet.training.inference import InferenceNetwork
from obfnet.training.part import TrainedNetwork, train_part
from obfnet.training.pool_plan import PoolPlan

PART: Final = 16
"""Networks that are trained together at most: the same everywhere, so that the same pool comes out."""

Deliver = Callable[[range, Sequence[TrainedNetwork]], None]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What of a pool is still to be trained.

    Args:
        name: Of the pool, for people.
        plan: Of the whole pool.
        parts: Numbers of networks.
        deliver: Gets a part's numbers and networks; what it returned from is kept.
        fail: Told why a part could not be trained; the other ones of this pool may then be left.
        checkpoint: Where an unfinished part may be kept; its fingerprint names the pool.
    """

    name: str
    plan: PoolPlan
    parts: Sequence[range]
    deliver: Deliver
    fail: Callable[[TrainingError], None]
    checkpoint: Checkpoint


class Engine(Protocol):
    """Trains parts of pools."""

    def train(self, works: Sequence[Work]) -> None:
        """Trains every part once and delivers it when it is done, in any order.

        Args:
            works: Of pools for one inference network, from one data set.

        Raises:
            OutputError: a checkpoint or a part cannot be written.
        """


def parts_of(count: int) -> list[range]:
    """The numbers of K networks in parts.

    Example:
        >>> parts_of(40)
        [range(0, 16), range(16, 32), range(32, 40)]
    """
    return [range(start, min(start + PART, count)) for start in range(0, count, PART)]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Local:
    """Trains in this process, one part after the other.

    Args:
        dataset: As for `train_part`.
        inference: Likewise.
        place: Likewise.
        progress: Told of every step.
    """

    dataset: Dataset
    inference: InferenceNetwork
    place: str = "auto"
    progress: Progress

    def train(self, works: Sequence[Work]) -> None:
        """As `Engine.train`."""
        for work in works:
            try:
                self._train(work)
            except TrainingError as exc:
                work.fail(exc)

    def _train(self, work: Work) -> None:
        fleet = work.plan.count > PART
        for numbers in work.parts:
            own = work.checkpoint
            if fleet:
                own = replace(own, fingerprint=f"{own.fingerprint}-{numbers.start}")
            networks = train_part(
                self.dataset,
                self.inference,
                work.plan,
                numbers,
                checkpoint=own,
                progress=self.progress,
                place=self.place,
                # In a fleet the number of cores decides nothing of what comes out.
                cores=torch.get_num_threads() if fleet else None,
            )
            work.deliver(numbers, networks)
            own.drop()


@final
@dataclass(frozen=True, kw_only=True)
class FinishedPart:
    """A part of a pool on disk.

    Args:
        bundles: Their files.
        validation_accuracy: Of each.
    """

    bundles: tuple[Path, ...]
    validation_accuracy: tuple[float, ...]


@final
class PartStore:
    """Finished parts of an unfinished pool, in a hidden folder beside it.

    Args:
        pool: Folder of the pool.
        fingerprint: Of the pool; parts of another one are not used.
        public_key: Text of the key that signs.
    """

    def __init__(self, pool: Path, *, fingerprint: str, public_key: str) -> None:
        self._folder, self._fingerprint = pool / ".parts", fingerprint
        self._trust = Trust(explicit=(public_key,))

    def write(
        self, numbers: range, bundles: Sequence[tuple[str, bytes]], validation_accuracy: Sequence[float]
    ) -> None:
        """Keeps a part; its list comes last.

        Args:
            numbers: Of its networks.
            bundles: Name and bytes of each.
            validation_accuracy: Of each.

        Raises:
            OutputError: it cannot be written.
        """
        folder = self._of(numbers)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(f"to write {folder}", exc.strerror or str(exc), "free space") from exc
        for name, data in bundles:
            write_atomic(folder / f"{name}{SUFFIX}", data)
        content = {
            "fingerprint": self._fingerprint,
            "bundles": {name: sha256_hex(data) for name, data in bundles},
            "validation_accuracy": list(validation_accuracy),
        }
        write_json(folder / "part.json", content)

    def read_all(self, count: int) -> list[FinishedPart]:
        """The parts of K networks.

        Raises:
            OutputError: one of them, which was kept, is not there any more.
        """
        found = [part for numbers in parts_of(count) if (part := self.read(numbers)) is not None]
        if len(found) < len(parts_of(count)):
            raise OutputError(f"every finished part in {self._folder}", "fewer", "run the command again")
        return found

    def read(self, numbers: range) -> FinishedPart | None:
        """A part that was kept whole; None where there is none of this pool."""
        folder = self._of(numbers)
        try:
            content = json.loads((folder / "part.json").read_text())
            files = {folder / f"{name}{SUFFIX}": sha256 for name, sha256 in content["bundles"].items()}
            if content["fingerprint"] != self._fingerprint or len(files) != len(numbers):
                return None
            if any(sha256_hex(path.read_bytes()) != sha256 for path, sha256 in files.items()):
                return None
            # A part that a device would refuse is trained again.
            read_bundle(next(iter(files)), trust=self._trust)
            return FinishedPart(
                bundles=tuple(files), validation_accuracy=tuple(map(float, content["validation_accuracy"]))
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, BundleError):
            return None

    def drop(self) -> None:
        """Removes all parts: the pool is whole."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _of(self, numbers: range) -> Path:
        return self._folder / f"{numbers.start:05d}"
