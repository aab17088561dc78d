"""The main job in its order: data, inference network, pool, server, device, attack, result and report.

Each step is one function of the package that owns it; here they are only put together. What a step
finished is kept in the output folder and reused by the next run with the same settings.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from obfnet.bundle import Pool, Trust, load_or_create_coordinator_key, public_key_text, read_pool
from obfnet.core.errors import BackendError, ObfNetError
from obfnet.core.files import claim_output, write_atomic, write_json
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.core.spec import as_unit
from obfnet.data.cases import CASES, Dataset, Split, load_case
from obfnet.data.fetch import NoSourceError
from obfnet.demo.device import Job, job_text
from obfnet.demo.leakage import Leakage, measure_leakage
from obfnet.demo.settings import DemoSettings
from obfnet.edge import ObfuscationSession
from obfnet.fitting import Budget, Checkpoint, fingerprint
from obfnet.nets import INFERENCE_ARCHITECTURES
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.nets.device_only import device_only_within
from obfnet.report.demo_page import Pictures, render_demo
from obfnet.serve.process import BackendProcess
from obfnet.training.classifier import accuracy, train_classifier
from obfnet.training.inference import InferenceNetwork, train_inference
from obfnet.training.obfuscation import PoolSettings, TrainedPool, train_obfuscation

FALLBACK_CASE: Final = "digits"
_PICTURED: Final = 12


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
    settings: DemoSettings, *, out: Path, data_dir: Path | None, progress: Progress, command: str
) -> DemoResult:
    """Runs the main job end to end.

    Args:
        settings: Full or quick.
        out: Folder for everything; empty, missing, or a former demo's, which is then resumed.
        data_dir: Folder with the data sets, or None.
        progress: Told of every step.
        command: The command that the user typed, for the result file.

    Returns:
        The figures and the paths of `result.json` and `report.html`.

    Raises:
        OutputError: `out` holds other content, is in use, or cannot be written.
        ObfNetError: whatever a step raises.
    """
    # A name that nobody knows must not leave a folder behind.
    CASES.get(settings.case)
    INFERENCE_ARCHITECTURES.get(settings.architecture)
    with claim_output(out, kind="demo"):
        clock = _Clock()
        with clock.timed("data"):
            dataset, fallback = _load(settings.case, data_dir, progress)
            dataset = replace(dataset, test=_thinned(dataset.test, settings.scored))
            settings = settings.for_samples(len(dataset.train.labels))
        with clock.timed("train_inference"):
            inference = train_inference(
                dataset,
                out=out / "inference",
                architecture=settings.architecture,
                schedule=settings.inference,
                seed=settings.seed,
                progress=progress,
            )
        with clock.timed("train_pool"):
            trained, pool = _train_pool(dataset, inference, settings, out / "pool", progress)
        with clock.timed("train_device_only"):
            device_only = _train_device_only(dataset, pool, settings, out / "device-only", progress)
        with clock.timed("remote_inference"):
            answers = _ask_backend(dataset, inference, pool, settings, out / "device", progress)
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
        figures = {
            "command": command,
            "case": dataset.spec.name,
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
            "budget_bits": pool.bundles[0].manifest.budget_bits,
            "wire": _compare_with_local(dataset, inference, pool, answers, settings),
            "obfuscation": _obfuscation_facts(pool, answers),
            "inference": {
                "architecture": inference.card.architecture,
                "id": inference.card.id,
                "parameters": count_parameters(inference.network),
                "macs": count_macs(inference.network, inference.card.input.shape),
            },
            "request_bytes": answers.facts["request_bytes"],
            "request_us": answers.facts["request_us"],
            "client_share": answers.facts["client_share"],
            "seconds": clock.seconds(),
            "reused": {"pool": trained.reused},
            "seed": settings.seed,
            "settings": asdict(settings),
            **provenance(),
        }
        result_path, report_path = out / "result.json", out / "report.html"
        page = render_demo(figures, _pictures(dataset, answers, leakage, pool))
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


def _load(case: str, data_dir: Path | None, progress: Progress) -> tuple[Dataset, list[str]]:
    try:
        return load_case(case, data_dir=data_dir, progress=progress), []
    except NoSourceError as exc:
        tried = [f"{attempt.source}: {attempt.reason}" for attempt in exc.attempts]
        progress.say(f"{case} could not be had: {'; '.join(tried)}")
        progress.say(f"falling back to scikit-learn's bundled digits: every figure is of '{FALLBACK_CASE}'")
        return load_case(FALLBACK_CASE, progress=progress), tried


def _thinned(split: Split, count: int) -> Split:
    # Evenly spaced: the first half of MNIST's test set is easier than the second.
    rows = np.unique(np.linspace(0, len(split.labels) - 1, min(count, len(split.labels))).astype(int))
    return Split(samples=split.samples[rows], labels=split.labels[rows])


def _train_pool(
    dataset: Dataset, inference: InferenceNetwork, settings: DemoSettings, folder: Path, progress: Progress
) -> tuple[TrainedPool, Pool]:
    key = load_or_create_coordinator_key()
    pool_settings = PoolSettings(
        hidden=settings.hidden, count=settings.count, schedule=settings.obfuscation, seed=settings.seed
    )
    trained = train_obfuscation(
        dataset, inference, out=folder, key=key, settings=pool_settings, progress=progress
    )
    trust = Trust(explicit=(public_key_text(key),))
    return trained, read_pool(folder, trust=trust, inference_network_id=inference.card.id)


def _train_device_only(
    dataset: Dataset, pool: Pool, settings: DemoSettings, folder: Path, progress: Progress
) -> dict[str, Any]:
    channels, height, width = dataset.spec.input.shape
    torch.manual_seed(settings.seed)
    network = device_only_within(
        (channels, height, width), len(dataset.spec.classes), pool.bundles[0].manifest.macs
    )
    name = fingerprint(
        {
            "data": dataset.fingerprint,
            "settings": asdict(settings.device_only),
            "macs": count_macs(network, dataset.spec.input.shape),
            "seed": settings.seed,
            "torch": torch.__version__,
        }
    )
    budget = Budget(
        schedule=settings.device_only,
        seed=settings.seed,
        checkpoint=Checkpoint(path=folder / "weights.safetensors", fingerprint=name),
        progress=progress,
        task="train device-only classifier",
    )
    train_classifier(network, dataset.train, budget)
    return {
        "accuracy": accuracy(network, dataset.test),
        "parameters": count_parameters(network),
        "macs": count_macs(network, dataset.spec.input.shape),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Answers:
    facts: dict[str, Any]
    labels: dict[str, npt.NDArray[np.int64]]
    sent: dict[str, npt.NDArray[Any]]


def _ask_backend(
    dataset: Dataset,
    inference: InferenceNetwork,
    pool: Pool,
    settings: DemoSettings,
    folder: Path,
    progress: Progress,
) -> _Answers:
    progress.start("ask the backend, raw and obfuscated", 1)
    raw = dataset.test.samples
    samples, buffer = folder / "raw.npy", BytesIO()
    np.save(buffer, raw)
    write_atomic(samples, buffer.getvalue())
    try:
        with BackendProcess(inference.onnx_path, threads=len(os.sched_getaffinity(0))) as backend:
            job = Job(
                pool=str(pool.folder),
                trust=pool.public_key,
                url=backend.url,
                samples=str(samples),
                requests=min(settings.requests, len(raw)),
                out=str(folder),
            )
            _run_device(job, folder / "job.json")
    finally:
        samples.unlink(missing_ok=True)
    progress.finish()
    with np.load(folder / "requests.npz") as sent, np.load(folder / "labels.npz") as labels:
        return _Answers(
            facts=json.loads((folder / "device.json").read_text()), labels=dict(labels), sent=dict(sent)
        )


def _run_device(job: Job, path: Path) -> None:
    write_atomic(path, job_text(job))
    device = subprocess.Popen(
        [sys.executable, "-m", "obfnet.demo.device", str(path)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, stderr = device.communicate()
    finally:
        if device.poll() is None:
            device.kill()
            device.wait()
    if device.returncode != 0:
        lines = stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise BackendError("the demo's device to finish", lines[-1], "run the demo again")


def _accuracies(
    dataset: Dataset,
    answers: _Answers,
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


def _compare_with_local(
    dataset: Dataset, inference: InferenceNetwork, pool: Pool, answers: _Answers, settings: DemoSettings
) -> dict[str, Any]:
    count = len(answers.sent["obfuscated"])
    with torch.no_grad():
        local = inference.network(torch.tensor(as_unit(answers.sent["obfuscated"]))).softmax(1).numpy()
        local_raw = inference.network(torch.tensor(as_unit(dataset.test.samples[:count]))).softmax(1).numpy()
    pairs = ((local, answers.sent["scores"]), (local_raw, answers.sent["raw_scores"]))
    result = {
        "requests": {"raw": count, "obfuscated": count},
        "protocol": answers.facts["protocol"],
        "same_labels": all(bool((ours.argmax(1) == theirs.argmax(1)).all()) for ours, theirs in pairs),
        "max_score_difference": max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs),
        "picked": answers.facts["picked"],
        "device_heavy_imports": answers.facts["heavy_imports"],
    }
    if not result["same_labels"] or result["max_score_difference"] > 1e-4:
        raise BackendError(
            "the backend to answer as local inference does (same labels, scores within 1e-4)",
            f"same labels: {result['same_labels']}, difference {result['max_score_difference']:.1e}",
            "check that the server serves this inference network",
        )
    if result["device_heavy_imports"]:
        raise ObfNetError("a device without torch", str(result["device_heavy_imports"]), "report this bug")
    return result


def _obfuscation_facts(pool: Pool, answers: _Answers) -> dict[str, Any]:
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


def _pictures(dataset: Dataset, answers: _Answers, leakage: Leakage, pool: Pool) -> Pictures:
    raw = as_unit(dataset.test.samples)
    first = ObfuscationSession(pool.bundles[0])
    order = np.argsort(-leakage.ssim)
    typical = order[np.linspace(0, len(order) - 1, _PICTURED + 2).astype(int)[1:-1]]
    shown = {"worst": order[:_PICTURED], "spread": typical}
    views = {
        name: {
            "raw": raw[rows],
            "obfuscated": as_unit(first.obfuscate(dataset.test.samples[rows])),
            "reconstructed": leakage.reconstructed[rows],
            "reconstructed_raw": leakage.reconstructed_raw[rows],
            "floor": leakage.floor[rows],
        }
        for name, rows in shown.items()
    }
    one = dataset.test.samples[int(typical[_PICTURED // 2])][None]
    each = np.concatenate([as_unit(ObfuscationSession(bundle).obfuscate(one)) for bundle in pool.bundles])
    return Pictures(
        views=views,
        scores={name: leakage.ssim[rows] for name, rows in shown.items()},
        histogram={"obfuscated": leakage.ssim, "raw": leakage.raw_ssim, "floor": leakage.floor_ssim},
        one_sample={"raw": as_unit(one), "obfuscated": each},
    )
