"""Training of a pool: K obfuscation networks, each on I∘O with the inference network frozen.

They are trained in parts (`part`), wherever an engine does it, and signed here. The finished pool is a folder
of signed bundles; `training.json` beside it says how it was made.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.bundle import Trust, build_bundle, public_key_text, read_pool, write_pool
from obfnet.core.errors import BundleError, TrainingError, UsageError
from obfnet.core.files import write_json
from obfnet.core.progress import Progress, Silent
from obfnet.data.case import Dataset
from obfnet.fitting import Checkpoint, fingerprint
from obfnet.nets.device_only import MOST_SIDE
from obfnet.training.engine import Engine, Local, PartStore, Work, parts_of
from obfnet.training.inference import InferenceNetwork
from obfnet.training.part import TrainedNetwork, protection_of
from obfnet.training.pool_plan import PoolPlan, PoolSettings
from obfnet.training.protections import PROTECTIONS, Protection

__all__ = ["PoolSettings", "TrainedPool", "train_obfuscation", "train_pools"]

_CARD = "training.json"
_CHECKPOINT = ".training.safetensors"
# What `protect` leaves beside a pool: not true of the next one.
_MEASURED = ("result.json", "audit.json", "report.html")


@dataclass(frozen=True, kw_only=True)
class TrainedPool:
    """A pool on disk and what its training saw.

    Args:
        folder: Signed bundles and `pool.json`.
        validation_accuracy: Of I∘O for each network, in [0, 1], on the split cut from the training set.
        reused: Whether it was there already, from the same settings.
    """

    folder: Path
    validation_accuracy: tuple[float, ...]
    reused: bool


def train_obfuscation(
    dataset: Dataset,
    inference: InferenceNetwork,
    *,
    out: Path,
    key: Ed25519PrivateKey,
    settings: PoolSettings | None = None,
    place: str = "auto",
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> TrainedPool:
    """Trains a pool against a frozen inference network and publishes it as signed bundles.

    Args:
        dataset: Training samples teach; validation samples give the accuracies; test samples are not read.
        inference: The network that the backend serves; unchanged afterwards, which is checked.
        out: Folder for the pool; made if missing.
        key: The coordinator's key, which signs every bundle and the pool.
        settings: What to train; the default is four of the case's first obfuscation networks.
        place: Processor: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.
        progress: Told of every step.
        engine: What trains; None does it in this process, one part of 16 after the other.

    Returns:
        The pool; the one that is there already if it came from the same settings.

    Raises:
        UsageError: a setting cannot be used, or the data are not what the inference network takes.
        TrainingError: the loss is not finite, or the inference network was changed by training.
        OutputError: `out` cannot be written.

    Does not guarantee: that an obfuscated sample hides anything, unless the protection has a budget.
    """
    pools = {out: settings or PoolSettings()}
    made = train_pools(dataset, inference, pools, key=key, place=place, progress=progress, engine=engine)[out]
    if isinstance(made, TrainingError):
        raise made
    return made


def train_pools(
    dataset: Dataset,
    inference: InferenceNetwork,
    pools: Mapping[Path, PoolSettings],
    *,
    key: Ed25519PrivateKey,
    place: str = "auto",
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> dict[Path, TrainedPool | TrainingError]:
    """Trains several pools as `train_obfuscation` trains one; a cluster is at all of them at once.

    What was measured of a former pool in the same folder is removed with it.

    Args:
        dataset: As for `train_obfuscation`.
        inference: Likewise.
        pools: What to train, by its folder.
        key: As for `train_obfuscation`.
        place: Likewise.
        progress: Likewise.
        engine: Likewise.

    Returns:
        The pools by folder, or why one could not be trained; the others are then trained all the same.

    Raises:
        UsageError, OutputError: as `train_obfuscation`; finished parts of all are kept.
    """
    progress = progress or Silent()
    _check_fit(dataset, inference)
    # A setting that cannot be used is found out before anything is trained.
    begun = [_Pool(dataset, inference, out, settings, key) for out, settings in pools.items()]
    missing = [pool for pool in begun if not pool.finished(progress)]
    engine = engine or Local(dataset=dataset, inference=inference, place=place, progress=progress)
    engine.train([pool.work(progress) for pool in missing])
    return {pool.out: pool.made for pool in begun}


class _Pool:
    """A pool in the making."""

    def __init__(
        self,
        dataset: Dataset,
        inference: InferenceNetwork,
        out: Path,
        settings: PoolSettings,
        key: Ed25519PrivateKey,
    ) -> None:
        self.out, self.plan = out, settings.for_case(dataset)
        self.made: TrainedPool | TrainingError = TrainingError("a trained pool", "none", "report this bug")
        self._inference, self._key, self._protection = inference, key, protection_of(self.plan)
        self._warning = self._protection.warning(len(inference.card.classes), dataset.train.labels)
        self._name = _fingerprint(dataset, inference, self.plan, key)
        self._store = PartStore(out, fingerprint=self._name, public_key=public_key_text(key))
        self._missing: set[range] = set()

    def finished(self, progress: Progress) -> bool:
        """Whether the pool is there already, from the same settings."""
        if (found := _finished(self.out, self._name, self._key)) is None:
            return False
        progress.say(f"pool: {self.out} was trained with these settings before, reused")
        # Left there where the command was killed at its very end.
        self._store.drop()
        self.made = found
        return True

    def work(self, progress: Progress) -> Work:
        """What of it is not there; where only the list of its bundles is missing, that is written now."""
        if self._warning:
            progress.say(f"warning: {self._warning}")
        parts = parts_of(self.plan.count)
        missing = [part for part in parts if self._store.read(part) is None]
        if len(missing) < len(parts):
            there = self.plan.count - sum(map(len, missing))
            progress.say(f"pool: {there} of {self.plan.count} networks are there, reused")
        self._missing = set(missing)
        if not missing:
            self._close()
        return Work(
            name=self.out.name,
            plan=self.plan,
            parts=missing,
            deliver=self._deliver,
            fail=self._fail,
            checkpoint=Checkpoint(path=self.out / _CHECKPOINT, fingerprint=self._name),
        )

    def _deliver(self, numbers: range, networks: Sequence[TrainedNetwork]) -> None:
        names = [f"{self._inference.card.case}-{number:03d}" for number in numbers]
        bundles = [
            (name, _bundle(network, name, self._protection, self._inference, self.plan, self._key))
            for name, network in zip(names, networks, strict=True)
        ]
        self._store.write(numbers, bundles, [network.validation_accuracy for network in networks])
        self._missing.remove(numbers)
        if not self._missing:
            self._close()

    def _fail(self, error: TrainingError) -> None:
        self.made = error

    def _close(self) -> None:
        finished = self._store.read_all(self.plan.count)
        accuracies = [one for part in finished for one in part.validation_accuracy]
        for name in _MEASURED:
            (self.out / name).unlink(missing_ok=True)
        write_pool(self.out, [bundle for part in finished for bundle in part.bundles], self._key)
        settings = dataclasses.asdict(self.plan)
        card = {"fingerprint": self._name, "validation_accuracy": accuracies, "settings": settings}
        write_json(self.out / _CARD, card)
        self._store.drop()
        self.made = TrainedPool(folder=self.out, validation_accuracy=tuple(accuracies), reused=False)


def _check_fit(dataset: Dataset, inference: InferenceNetwork) -> None:
    data, network = dataset.spec, inference.card
    if data.input.unit_shape != network.input.unit_shape or data.classes != network.classes:
        raise UsageError(
            f"samples of shape {network.input.unit_shape} in {len(network.classes)} classes, "
            f"as {network.case}",
            f"{data.input.unit_shape} in {len(data.classes)}, of {data.name}",
            "give the inference network of this case",
        )


def _bundle(
    network: TrainedNetwork,
    name: str,
    protection: Protection,
    inference: InferenceNetwork,
    plan: PoolPlan,
    key: Ed25519PrivateKey,
) -> bytes:
    spec = inference.card.input
    return build_bundle(
        graph=network.graph,
        key=key,
        name=name,
        case=inference.card.case,
        input=spec,
        protection=protection.name,
        architecture=plan.architecture,
        hidden=plan.hidden,
        parameters=network.parameters,
        macs=network.macs,
        budget_bits=protection.budget_bits,
        epsilon=protection.epsilon,
        noise=protection.noise,
        poor_bits=protection.poor_bits,
        rich_share=protection.rich_share,
        inference_network_id=inference.card.id,
    )


def _fingerprint(
    dataset: Dataset, inference: InferenceNetwork, plan: PoolPlan, key: Ed25519PrivateKey
) -> str:
    # A limit that there is not has no part in the name, as before there were any.
    settings = {name: value for name, value in dataclasses.asdict(plan).items() if value is not None}
    decisive: dict[str, Any] = {
        "data": dataset.fingerprint,
        "inference": inference.card.id,
        "settings": settings,
        "key": public_key_text(key),
        "torch": torch.__version__,
    }
    if min(inference.card.input.unit_shape[1:]) > MOST_SIDE:
        decisive["large"] = 3
    if (recipe := PROTECTIONS.get(plan.protection).recipe) > 1:
        decisive["recipe"] = recipe
    return fingerprint(decisive)


def _finished(out: Path, name: str, key: Ed25519PrivateKey) -> TrainedPool | None:
    try:
        card = json.loads((out / _CARD).read_text())
        if card["fingerprint"] != name:
            return None
        # A pool that a device would refuse is trained again.
        read_pool(out, trust=Trust(explicit=(public_key_text(key),)))
        return TrainedPool(folder=out, validation_accuracy=tuple(card["validation_accuracy"]), reused=True)
    except (OSError, ValueError, KeyError, BundleError):
        return None
