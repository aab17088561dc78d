"""The demo's pools: the published one, and one network with a ceiling."""

from dataclasses import replace
from pathlib import Path

from obfnet.bundle import Pool, Trust, load_or_create_coordinator_key, public_key_text, read_pool
from obfnet.core.progress import Progress
from obfnet.data.case import Dataset
from obfnet.demo.settings import DemoSettings
from obfnet.training.inference import InferenceNetwork
from obfnet.training.obfuscation import PoolSettings, TrainedPool, train_obfuscation
from obfnet.training.recipes import obfuscation_schedule


def train_pool(
    dataset: Dataset,
    inference: InferenceNetwork,
    settings: DemoSettings,
    folder: Path,
    progress: Progress,
    *,
    bits: int | None = None,
) -> tuple[TrainedPool, Pool]:
    """Trains a pool as the settings say, and reads it as a device does.

    Args:
        dataset: What it is trained on.
        inference: Against this network.
        settings: The demo's.
        folder: For the pool.
        progress: Told of the training.
        bits: Budget of the one network of protection `coded`; None for the pool of `published` ones.

    Raises:
        UsageError, TrainingError, OutputError: as `train_obfuscation`.
    """
    key, protection = load_or_create_coordinator_key(), "published" if bits is None else "coded"
    own = obfuscation_schedule(dataset.spec, protection=protection)
    chosen = settings.obfuscation if bits is None else settings.limited
    trained = train_obfuscation(
        dataset,
        inference,
        out=folder,
        key=key,
        settings=PoolSettings(
            architecture=settings.obfuscation_architecture,
            hidden=settings.hidden,
            protection=protection,
            bits=bits,
            count=settings.count if bits is None else 1,
            schedule=chosen or replace(own, epochs=own.epochs * settings.share),
            seed=settings.seed,
        ),
        progress=progress,
    )
    trust = Trust(explicit=(public_key_text(key),))
    return trained, read_pool(folder, trust=trust, inference_network_id=inference.card.id)
