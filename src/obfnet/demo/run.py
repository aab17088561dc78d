"""The main job in its order: data, inference network, pool, server, device, attack, result and report.

Each step is one function of the package that owns it; here they are only put together. What a step
finished is kept in the output folder and reused by the next run with the same settings.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from obfnet.bundle import Pool
from obfnet.core.errors import UsageError
from obfnet.core.files import claim_output, write_atomic, write_json
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.data.case import Dataset
from obfnet.data.cases import case_spec, load_case, split_rule
from obfnet.data.fetch import NoSourceError
from obfnet.data.table import Split
from obfnet.demo.backend import Answers, ask_backend, compare_with_local
from obfnet.demo.leakage import measure_leakage, measure_recognition
from obfnet.demo.limited import measure_limited
from obfnet.demo.pool import train_pool
from obfnet.demo.samples import picture_samples, sample_bytes
from obfnet.demo.settings import DemoSettings
from obfnet.edge import ObfuscationSession
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.report.demo_page import render_demo
from obfnet.training.classifier import accuracy
from obfnet.training.device_only import train_device_only
from obfnet.training.inference import InferenceNetwork, load_inference, train_inference
from obfnet.training.obfuscation import TrainedPool
from obfnet.training.recipes import inference_recipe

FALLBACK_CASE: Final = "digits"
_FALLBACK_FOR: Final = "mnist"


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What a demo leaves: figures, and where they and the page lie.

    Args:
        figures: The content of `result.json`.
        result_path: `result.json`.
        report_path: `report.html`.
    """

    figures: dict[str, Any]
    result_path: Path
    report_path: Path


def run_demo(
    settings: DemoSettings,
    *,
    out: Path,
    data_dir: Path | None,
    progress: Progress,
    command: str,
    inference_path: Path | None = None,
    skip_bad: bool = False,
) -> DemoResult:
    """Runs the main job end to end.

    Args:
        settings: Full or quick.
        out: Folder for everything; empty, missing, or a former demo's, which is then resumed.
        data_dir: Folder with the data sets, or None.
        progress: Told of every step.
        command: The command that the user typed, for the result file.
        inference_path: Folder of a trained inference network of this case, which is then not trained.
        skip_bad: Whether samples that cannot be read are left out; otherwise they end the demo at once.

    Returns:
        The figures and the paths of `result.json` and `report.html`.

    Raises:
        OutputError: `out` holds other content, is in use, or cannot be written.
        ObfNetError: whatever a step raises.
    """
    # A name that nobody knows must not leave a folder behind.
    spec = case_spec(settings.case)
    split_rule(spec, settings.split)
    INFERENCE_ARCHITECTURES.get(spec.inference_architecture(settings.architecture))
    OBFUSCATION_ARCHITECTURES.get(spec.obfuscation_architecture(settings.obfuscation_architecture))
    with claim_output(out, kind="demo"):
        clock = _Clock()
        with clock.timed("data"):
            dataset, fallback = _load(settings, data_dir, progress, skip_bad=skip_bad)
            dataset = replace(dataset, test=_thinned(dataset.test, settings.scored))
            settings = settings.for_samples(len(dataset.train.labels), dataset.spec.input.values)
        with clock.timed("train_inference"):
            inference = _inference_network(dataset, settings, inference_path, out / "inference", progress)
        with clock.timed("train_pool"):
            trained, pool = train_pool(dataset, inference, settings, out / "pool", progress)
        bits = dataset.spec.recipe.budget_bits
        with clock.timed("train_limited"):
            limited_pool = (
                train_pool(dataset, inference, settings, out / "pool-limited", progress, bits=bits)[1]
                if bits
                else None
            )
        with clock.timed("train_device_only"):
            device_only = _train_device_only(dataset, pool, settings, out / "device-only", progress)
        with clock.timed("remote_inference"):
            answers = ask_backend(dataset, inference, pool, settings, out / "device", progress)
        with clock.timed("attack"):
            # The first network of the pool stands for the one that the attacked device uses.
            leakage = measure_leakage(
                dataset,
                ObfuscationSession(pool.bundles[0]),
                answered=answers.labels[pool.bundles[0].name],
                epochs=settings.attack_epochs,
                seed=settings.seed,
                folder=out / "attack",
                progress=progress,
            )
            recognition = measure_recognition(
                dataset,
                ObfuscationSession(pool.bundles[0]),
                share=settings.share,
                seed=settings.seed,
                progress=progress,
            )
        with clock.timed("limited"):
            limited = (
                measure_limited(dataset, inference, limited_pool, settings, out, progress, beside=recognition)
                if limited_pool
                else None
            )
        figures = {
            "command": command,
            "case": dataset.spec.name,
            "kind": dataset.spec.kind,
            "split": dataset.split,
            "split_about": split_rule(dataset.spec, dataset.split)[0].about,
            "note": dataset.spec.note,
            "skipped": list(dataset.skipped),
            "case_requested": settings.case,
            "case_fallback": fallback,
            # A folder of this machine says nothing to a reader of the result; a URL does.
            "data": [
                {"file": origin.file, "source": origin.source.split(" /")[0], "size_bytes": origin.size_bytes}
                for origin in dataset.origins
            ],
            "demo": settings.name,
            "accuracy": _accuracies(dataset, answers, device_only, pool, inference, trained),
            "leakage": {"bundle": pool.bundles[0].name, **leakage.figures()},
            "attribute": None if recognition is None else recognition.figures(),
            "budget_bits": pool.bundles[0].manifest.budget_bits,
            "limited": None if limited is None else limited.figures,
            "wire": compare_with_local(dataset, inference, answers),
            "obfuscation": _obfuscation_facts(pool, answers),
            "inference": {
                "architecture": inference.card.architecture,
                "id": inference.card.id,
                "parameters": count_parameters(inference.network),
                "macs": count_macs(inference.network, inference.card.input.shape),
            },
            "request_bytes": {**answers.facts["request_bytes"], **sample_bytes(dataset)},
            "request_us": answers.facts["request_us"],
            "client_share": answers.facts["client_share"],
            "seconds": clock.seconds(),
            "reused": {"pool": trained.reused},
            "seed": settings.seed,
            "settings": asdict(settings),
            **provenance(),
        }
        result_path, report_path = out / "result.json", out / "report.html"
        page = render_demo(figures, picture_samples(dataset, leakage, pool, limited))
        write_json(result_path, figures)
        write_atomic(report_path, page)
    return DemoResult(figures=figures, result_path=result_path, report_path=report_path)


class _Clock:
    def __init__(self) -> None:
        self._started = time.monotonic()
        self._parts: dict[str, float] = {}

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._parts[part] = round(time.monotonic() - begun, 2)

    def seconds(self) -> dict[str, float]:
        return {**self._parts, "total": round(time.monotonic() - self._started, 2)}


def _load(
    settings: DemoSettings, data_dir: Path | None, progress: Progress, *, skip_bad: bool
) -> tuple[Dataset, list[str]]:
    case = settings.case
    try:
        dataset = load_case(
            case, split=settings.split, skip_bad=skip_bad, data_dir=data_dir, progress=progress
        )
        return dataset, []
    except NoSourceError as exc:
        # Digits may stand for digits; nothing stands for another case.
        if case != _FALLBACK_FOR:
            raise
        tried = [f"{attempt.source}: {attempt.reason}" for attempt in exc.attempts]
        progress.say(f"{case} could not be had: {'; '.join(tried)}")
        progress.say(f"falling back to scikit-learn's bundled digits: every figure is of '{FALLBACK_CASE}'")
        return load_case(FALLBACK_CASE, progress=progress), tried


def _thinned(split: Split, count: int) -> Split:
    # Evenly spaced: the first half of MNIST's test set is easier than the second.
    rows = np.unique(np.linspace(0, len(split.labels) - 1, min(count, len(split.labels))).astype(int))
    return split.take(rows)


def _inference_network(
    dataset: Dataset, settings: DemoSettings, given: Path | None, folder: Path, progress: Progress
) -> InferenceNetwork:
    if given is not None:
        network = load_inference(given)
        if (network.card.case, network.card.split) != (dataset.spec.name, dataset.split):
            raise UsageError(
                f"an inference network of {dataset.spec.name}, split {dataset.split}",
                f"one of {network.card.case}, split {network.card.split}",
                "give another --inference, or leave it out",
            )
        return network
    architecture = dataset.spec.inference_architecture(settings.architecture)
    recipe = inference_recipe(dataset.spec, architecture)
    epochs = recipe.schedule.epochs * settings.share
    return train_inference(
        dataset,
        out=folder,
        architecture=architecture,
        recipe=recipe,
        schedule=settings.inference or replace(recipe.schedule, epochs=epochs),
        seed=settings.seed,
        progress=progress,
    )


def _train_device_only(
    dataset: Dataset, pool: Pool, settings: DemoSettings, folder: Path, progress: Progress
) -> dict[str, Any]:
    recipe = inference_recipe(dataset.spec, "device-only")
    schedule = replace(recipe.schedule, epochs=recipe.schedule.epochs * settings.share)
    network = train_device_only(
        dataset,
        pool.bundles[0].manifest.macs,
        recipe=replace(recipe, schedule=settings.device_only or schedule),
        seed=settings.seed,
        folder=folder,
        progress=progress,
    )
    return {
        "accuracy": accuracy(network, dataset.test),
        "parameters": count_parameters(network),
        "macs": count_macs(network, dataset.spec.input.shape),
    }


def _accuracies(
    dataset: Dataset,
    answers: Answers,
    device_only: dict[str, Any],
    pool: Pool,
    inference: InferenceNetwork,
    trained: TrainedPool,
) -> dict[str, Any]:
    wanted = dataset.test.labels
    each = {bundle.name: float((answers.labels[bundle.name] == wanted).mean()) for bundle in pool.bundles}
    return {
        "raw": float((answers.labels["raw"] == wanted).mean()),
        "obfuscated": float(np.mean(list(each.values()))),
        "obfuscated_worst": min(each.values()),
        "obfuscated_each": each,
        "device_only": device_only["accuracy"],
        "device_only_parameters": device_only["parameters"],
        "device_only_macs": device_only["macs"],
        "samples": len(wanted),
        "validation": {
            "raw": inference.card.validation_accuracy,
            "obfuscated_each": trained.validation_accuracy,
        },
    }


def _obfuscation_facts(pool: Pool, answers: Answers) -> dict[str, Any]:
    manifest = pool.bundles[0].manifest
    return {
        "architecture": manifest.architecture,
        "hidden": manifest.hidden,
        "protection": manifest.protection,
        "count": len(pool.bundles),
        "parameters": manifest.parameters,
        "macs": manifest.macs,
        "latency_us": answers.facts["obfuscate_us"],
        "bare_runtime_us": answers.facts["bare_us"],
        "bundle_bytes": pool.bundles[0].size_bytes,
    }
