"""The demo's remote inference: a server and a device, each a process, and the check of their answers."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from obfnet.bundle import Pool
from obfnet.core.errors import BackendError, ObfNetError
from obfnet.core.files import write_atomic
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.case import Dataset
from obfnet.demo.device import Job, job_text
from obfnet.demo.settings import DemoSettings
from obfnet.serve.process import BackendProcess
from obfnet.training.inference import InferenceNetwork


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a backend answered to the demo's device.

    Args:
        facts: What the device measured, JSON-ready.
        labels: `"raw"` and each bundle's name to the answered labels of all test samples, `(N,)` int64.
        sent: What was sent singly and what came back.
    """

    facts: dict[str, Any]
    labels: dict[str, npt.NDArray[np.int64]]
    sent: dict[str, npt.NDArray[Any]]


def ask_backend(
    dataset: Dataset,
    inference: InferenceNetwork,
    pool: Pool,
    settings: DemoSettings,
    folder: Path,
    progress: Progress,
) -> Answers:
    """Serves the inference network in a process of its own and has a device, in another, ask it.

    Args:
        dataset: Its test samples are sent.
        inference: What is served.
        pool: What the device obfuscates with.
        settings: How many single requests there are.
        folder: For what the device writes.
        progress: Told of the step.

    Raises:
        BackendError: the device failed.
    """
    progress.start("ask the backend, raw and obfuscated", 1)
    raw = dataset.test.samples[:]
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
        return Answers(
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


def compare_with_local(dataset: Dataset, inference: InferenceNetwork, answers: Answers) -> dict[str, Any]:
    """The `wire` part of a result: the backend's answers against the same network run here.

    Raises:
        BackendError: a label differs, or a score by more than 1e-4.
        ObfNetError: the device loaded torch.
    """
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
