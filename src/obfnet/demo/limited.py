"""The same job with a ceiling: one coded network beside the published ones, asked and attacked alike.

So that a first report shows both the problem and what a budget does about it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from obfnet.bundle import Pool, Trust, load_or_create_coordinator_key, public_key_text, read_pool
from obfnet.core.progress import Progress
from obfnet.data.case import Dataset
from obfnet.demo.backend import ask_backend
from obfnet.demo.leakage import Leakage, measure_leakage, measure_recognition
from obfnet.demo.settings import DemoSettings
from obfnet.edge import ObfuscationSession
from obfnet.training.inference import InferenceNetwork
from obfnet.training.obfuscation import PoolSettings, train_obfuscation
from obfnet.training.recipes import obfuscation_schedule

PROTECTION = "coded"


@dataclass(frozen=True, kw_only=True, eq=False)
class Limited:
    """What came of the network with a budget.

    Args:
        figures: The `limited` part of a result file.
        leakage: Reconstructions from what it sends.
        pool: The pool of this one network.
    """

    figures: dict[str, Any]
    leakage: Leakage
    pool: Pool


def train_limited(
    dataset: Dataset,
    inference: InferenceNetwork,
    settings: DemoSettings,
    bits: int,
    folder: Path,
    progress: Progress,
) -> Pool:
    """Trains one network whose requests carry at most `bits` bits.

    Args:
        dataset: As for the published pool.
        inference: As for the published pool.
        settings: The demo's.
        bits: The budget.
        folder: For the pool.
        progress: Told of the training.
    """
    key = load_or_create_coordinator_key()
    schedule = obfuscation_schedule(dataset.spec, protection=PROTECTION)
    pool_settings = PoolSettings(
        architecture=settings.obfuscation_architecture,
        hidden=settings.hidden,
        protection=PROTECTION,
        bits=bits,
        count=1,
        schedule=settings.limited or replace(schedule, epochs=schedule.epochs * settings.share),
        seed=settings.seed,
    )
    train_obfuscation(dataset, inference, out=folder, key=key, settings=pool_settings, progress=progress)
    trust = Trust(explicit=(public_key_text(key),))
    return read_pool(folder, trust=trust, inference_network_id=inference.card.id)


def measure_limited(
    dataset: Dataset,
    inference: InferenceNetwork,
    pool: Pool,
    settings: DemoSettings,
    folder: Path,
    progress: Progress,
) -> Limited:
    """Asks the backend through the network with a budget, and attacks it as the published one.

    Args:
        dataset: Test samples are sent and scored.
        inference: What is served.
        pool: What `train_limited` gave.
        settings: The demo's.
        folder: The demo's own; the attacker on raw samples is taken from it.
        progress: Told of every step.

    Raises:
        BackendError, AttackError: as for the published pool.
    """
    answers = ask_backend(dataset, inference, pool, settings, folder / "device-limited", progress)
    bundle = pool.bundles[0]
    session = ObfuscationSession(bundle)
    answered = answers.labels[bundle.manifest.name]
    leakage = measure_leakage(
        dataset,
        session,
        answered=answered,
        epochs=settings.attack_epochs,
        seed=settings.seed,
        folder=folder / "attack",
        task="decoder-limited",
        from_label=True,
        progress=progress,
    )
    recognition = measure_recognition(
        dataset, session, share=settings.share, seed=settings.seed, progress=progress
    )
    figures = {
        "protection": bundle.manifest.protection,
        "budget_bits": bundle.manifest.budget_bits,
        "accuracy": float((answered == dataset.test.labels).mean()),
        "leakage": {"bundle": bundle.manifest.name, **leakage.figures()},
        "attribute": None if recognition is None else recognition.figures(),
        "parameters": bundle.manifest.parameters,
        "macs": bundle.manifest.macs,
        "latency_us": answers.facts["obfuscate_us"],
        "request_bytes": answers.facts["request_bytes"]["obfuscated"],
    }
    return Limited(figures=figures, leakage=leakage, pool=pool)
