"""The same job with a ceiling: one coded network beside the published ones, asked and attacked alike.

So that a first report shows both the problem and what a budget does about it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obfnet.bundle import Pool
from obfnet.core.progress import Progress
from obfnet.data.case import Dataset
from obfnet.demo.backend import ask_backend
from obfnet.demo.leakage import Leakage, Recognition, measure_leakage, measure_recognition
from obfnet.demo.settings import DemoSettings
from obfnet.edge import ObfuscationSession
from obfnet.training.inference import InferenceNetwork


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


def measure_limited(
    dataset: Dataset,
    inference: InferenceNetwork,
    pool: Pool,
    settings: DemoSettings,
    folder: Path,
    progress: Progress,
    *,
    beside: Recognition | None,
) -> Limited:
    """Asks the backend through the network with a budget, and attacks it as the published one.

    Args:
        dataset: Test samples are sent and scored.
        inference: What is served.
        pool: The pool of this one network.
        settings: The demo's.
        folder: The demo's own; the attacker on raw samples is taken from it.
        progress: Told of every step.
        beside: How well the attribute was recognised through the published network: the control on raw
            samples is taken from it.

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
        dataset,
        session,
        share=settings.share,
        seed=settings.seed,
        progress=progress,
        raw_accuracy=None if beside is None else beside.raw_accuracy,
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
