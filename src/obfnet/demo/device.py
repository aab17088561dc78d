"""The device's part of the demo, as a process of its own: `python -m obfnet.demo.device JOB.json`.

It imports no torch and no training code. It sends single raw and obfuscated samples and keeps what it
sent and what came back, then asks about the whole test set, raw and through each bundle, for accuracy.
"""

import json
import sys
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from obfnet.bundle import Bundle, Pool, Trust, read_pool
from obfnet.core.errors import ObfNetError
from obfnet.core.files import write_atomic, write_json
from obfnet.core.spec import Samples
from obfnet.edge import Device, ObfuscationSession, UnsafeRawPassthrough
from obfnet.edge.timing import time_obfuscation

_BATCH: Final = 250


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the device is to do.

    Args:
        pool: Folder of the pool.
        trust: The coordinator's public key, as text.
        url: The backend.
        samples: `.npy` file of the raw test samples, `(N, *shape)`.
        requests: How many of them to send one by one.
        out: Folder for `requests.npz`, `labels.npz` and `device.json`.
    """

    pool: str
    trust: str
    url: str
    samples: str
    requests: int
    out: str


def run_device(job: Job) -> None:
    """Does the job; writes what was sent and answered, atomically.

    Raises:
        ObfNetError: the pool was refused, or the backend could not be asked.
    """
    pool = read_pool(Path(job.pool), trust=Trust(explicit=(job.trust,)))
    raw = np.load(job.samples, allow_pickle=False)
    out = Path(job.out)
    timings = time_obfuscation(pool.bundles[0], raw[:1])
    single = _send_singly(pool, job.url, raw[: job.requests])
    labels = {"raw": _ask_about_all(UnsafeRawPassthrough(job.url, pool.input), raw)}
    for bundle in pool.bundles:
        labels[bundle.name] = _ask_about_all(Device(_only(pool, bundle), job.url), raw)
    heavy = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "onnx", "sklearn", "kserve"})
    _save(out / "requests.npz", single.pop("arrays"))
    _save(out / "labels.npz", labels)
    write_json(out / "device.json", {**single, **timings, "heavy_imports": heavy})


def _send_singly(pool: Pool, url: str, raw: Samples) -> dict[str, Any]:
    # The bundles are picked by `Device`; the obfuscated samples are made again to be kept for comparison.
    sessions = {bundle.name: ObfuscationSession(bundle) for bundle in pool.bundles}
    picked, obfuscated, answers, raw_answers = [], [], [], []
    with Device(pool, url) as device, UnsafeRawPassthrough(url, pool.input) as passthrough:
        for sample in raw:
            raw_answers.append(passthrough.infer(sample[None]))
            answer = device.infer(sample[None])
            answers.append(answer)
            picked.append(answer.bundle or "")
            obfuscated.append(sessions[picked[-1]].obfuscate(sample[None])[0])
    # The first request also opens the connection and asks what the model takes.
    settled = answers[1:] or answers
    client = [answer.obfuscate_s + answer.encode_s + answer.decode_s for answer in settled]
    return {
        "arrays": {
            "picked": np.array(picked),
            "obfuscated": np.stack(obfuscated),
            "scores": np.concatenate([answer.scores for answer in answers]),
            "raw_scores": np.concatenate([answer.scores for answer in raw_answers]),
        },
        "protocol": answers[0].protocol,
        "request_bytes": {"raw": raw_answers[-1].request_bytes, "obfuscated": answers[-1].request_bytes},
        "request_us": {
            "raw": _median_us([answer.total_s for answer in raw_answers[1:] or raw_answers]),
            "obfuscated": _median_us([answer.total_s for answer in settled]),
        },
        "client_share": float(np.median(np.array(client) / [answer.total_s for answer in settled])),
        "picked": {name: picked.count(name) for name in sessions},
    }


def _ask_about_all(asker: Device | UnsafeRawPassthrough, raw: Samples) -> Samples:
    with asker:
        parts = [asker.infer(raw[start : start + _BATCH]).labels for start in range(0, len(raw), _BATCH)]
    return np.concatenate(parts)


def _only(pool: Pool, bundle: Bundle) -> Pool:
    return replace(pool, bundles=(bundle,))


def _median_us(seconds: list[float]) -> float:
    return float(np.median(seconds)) * 1e6


def _save(path: Path, arrays: dict[str, Any]) -> None:
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def main() -> None:
    """Reads the job from the file that the command line names; errors go to stderr in one line."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    try:
        run_device(job)
    except ObfNetError as exc:
        sys.exit(str(exc))


def job_text(job: Job) -> str:
    """The job as JSON, which `main` reads."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    main()
