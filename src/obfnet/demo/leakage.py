"""How much of the raw samples an attacker rebuilds: the decoder on O, on raw data, and the floor.

One threat level, T2: the attacker knows which O the device uses and trains on its own samples, which
are the training split; every score is on test samples, which it never saw.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from obfnet.attacks import ATTACKS, WhiteBox
from obfnet.core.files import sha256_hex
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples, as_unit
from obfnet.data.cases import Dataset
from obfnet.edge import ObfuscationSession
from obfnet.fitting import Checkpoint, fingerprint
from obfnet.metrics.similarity import mse, ssim

_BATCH = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Leakage:
    """Reconstructions of the test samples and their similarity to the raw ones.

    Args:
        reconstructed: From the obfuscated samples, `(N, C, H, W)` float32 in [0, 1].
        reconstructed_raw: The same attack's from the raw samples: the control that shows it is able.
        floor: What the label alone gives.
        ssim: `(N,)` for `reconstructed`.
        raw_ssim: `(N,)` for `reconstructed_raw`.
        floor_ssim: `(N,)` for `floor`.
        mse: `(N,)` for `reconstructed`.
    """

    reconstructed: Samples
    reconstructed_raw: Samples
    floor: Samples
    ssim: npt.NDArray[np.float64]
    raw_ssim: npt.NDArray[np.float64]
    floor_ssim: npt.NDArray[np.float64]
    mse: npt.NDArray[np.float64]

    def figures(self) -> dict[str, Any]:
        """The `leakage` part of a result file; means over the test samples, with the worst beside them.

        `normalised` and `share_over_half` are None where the attack on raw samples does not beat the
        floor: such an attacker is not able, and says nothing.
        """
        floor = float(self.floor_ssim.mean())
        gap = float(self.raw_ssim.mean()) - floor
        normalised = (self.ssim - floor) / gap if gap > 0 else None
        return {
            "attack": "decoder",
            "threat_level": "T2",
            "ssim": float(self.ssim.mean()),
            "ssim_median": float(np.median(self.ssim)),
            "ssim_p95": float(np.percentile(self.ssim, 95)),
            "ssim_worst": float(self.ssim.max()),
            "mse": float(self.mse.mean()),
            "raw_ssim": float(self.raw_ssim.mean()),
            "floor_ssim": floor,
            "normalised": None if normalised is None else float(normalised.mean()),
            "share_over_half": None if normalised is None else float((normalised > 0.5).mean()),
            "samples": len(self.ssim),
        }


def measure_leakage(
    dataset: Dataset,
    session: ObfuscationSession,
    *,
    answered: npt.NDArray[np.int64],
    epochs: float,
    seed: int,
    folder: Path,
    progress: Progress,
) -> Leakage:
    """Attacks one obfuscation network with a decoder, beside its controls.

    Args:
        dataset: The attacker trains on `train`; everything is scored on `test`.
        session: The obfuscation network that the device uses.
        answered: Labels that the backend gave to the obfuscated test samples, `(N,)` int64.
        epochs: Passes over the attacker's pairs.
        seed: Of the attacker's weights and order.
        folder: Where unfinished attackers keep their state.
        progress: Told of every step.

    Raises:
        AttackError: the attacker's samples overlap those that it is scored on.
    """
    raw_train, raw_test = as_unit(dataset.train.samples), as_unit(dataset.test.samples)
    received_train = as_unit(obfuscate_all(session, dataset.train.samples))
    received_test = as_unit(obfuscate_all(session, dataset.test.samples))
    labels = dataset.train.labels

    def attack(name: str, train: Samples, test: Samples, task: str) -> Samples:
        knowledge = WhiteBox(received=train, raw=raw_train, labels=labels)
        knowledge.forbid_overlap(raw_test)
        options: dict[str, Any] = {}
        if name == "decoder":
            settings = {"pairs": sha256_hex(train.tobytes()), "epochs": epochs, "seed": seed}
            path = folder / f"{task}.safetensors"
            options = {
                "epochs": epochs,
                "checkpoint": Checkpoint(path=path, fingerprint=fingerprint(settings)),
            }
        fitted = ATTACKS.get(name)().fit(knowledge, seed=seed, progress=progress, **options)
        return fitted(test, answered)

    reconstructed = attack("decoder", received_train, received_test, "decoder-obfuscated")
    reconstructed_raw = attack("decoder", raw_train, raw_test, "decoder-raw")
    floor = attack("class-mean", received_train, received_test, "class-mean")
    return Leakage(
        reconstructed=reconstructed,
        reconstructed_raw=reconstructed_raw,
        floor=floor,
        ssim=ssim(raw_test, reconstructed),
        raw_ssim=ssim(raw_test, reconstructed_raw),
        floor_ssim=ssim(raw_test, floor),
        mse=mse(raw_test, reconstructed),
    )


def obfuscate_all(session: ObfuscationSession, raw: Samples) -> Samples:
    """Obfuscates any number of samples in batches; `(N, ...)` in, the same shape and dtype out."""
    parts = [session.obfuscate(raw[start : start + _BATCH]) for start in range(0, len(raw), _BATCH)]
    return np.concatenate(parts)
