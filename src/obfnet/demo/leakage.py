"""How much of the raw samples an attacker rebuilds: the decoder on O, on raw data, and the floor.

One threat level, T2: the attacker knows which O the device uses and trains on its own samples, which
are the training split; every score is on test samples, which it never saw.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.attacks import ATTACKS, Reconstruction, WhiteBox
from obfnet.attacks.attribute_probe import NAME, THREAT_LEVEL, KnownAttributes, probe_attribute
from obfnet.auditing.controls import label_rows
from obfnet.auditing.normalised import FEWEST, normalised_leakage
from obfnet.core.files import sha256_hex
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples, as_unit
from obfnet.data.case import Dataset
from obfnet.data.rows import AnyRows, batches, mapped, taken
from obfnet.data.table import Split
from obfnet.edge import ObfuscationSession
from obfnet.fitting import Checkpoint, fingerprint
from obfnet.metrics.similarity import mse, ssim

# So many values of test samples are scored at most: 10,000 digits, some 2,000 photographs of 64x64.
_SCORED_VALUES: Final = 24_000_000
# Of the passes: there is only a picture for each label to be learnt.
_LABEL_SHARE: Final = 0.25
_PROBE_EPOCHS: Final = 40
_PROBE_STEPS: Final = 4_000


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
        label_ssim: `(N,)` for what the same attack makes of the label alone; None where it was not asked.
    """

    reconstructed: Samples
    reconstructed_raw: Samples
    floor: Samples
    ssim: npt.NDArray[np.float64]
    raw_ssim: npt.NDArray[np.float64]
    floor_ssim: npt.NDArray[np.float64]
    mse: npt.NDArray[np.float64]
    label_ssim: npt.NDArray[np.float64] | None = None

    def figures(self) -> dict[str, Any]:
        """The `leakage` part of a result file; means over the test samples, with the worst beside them.

        The normalised figures are the audit's (`auditing.normalised`); their floor is the class mean, or the
        same attack on the label alone where that was asked and is higher.
        They are None where the attack does not clearly beat the floor on raw samples, or where too few are
        scored: such an attacker says nothing.
        """
        normalised = self._normalised()
        return {
            "attack": "decoder",
            "threat_level": "T2",
            "ssim": float(self.ssim.mean()),
            "ssim_median": float(np.median(self.ssim)),
            "ssim_p95": float(np.percentile(self.ssim, 95)),
            "ssim_worst": float(self.ssim.max()),
            "mse": float(self.mse.mean()),
            "raw_ssim": float(self.raw_ssim.mean()),
            "floor_ssim": float(self.floor_ssim.mean()),
            "label_ssim": None if self.label_ssim is None else float(self.label_ssim.mean()),
            **normalised,
            "samples": len(self.ssim),
        }

    def _normalised(self) -> dict[str, Any]:
        nothing = dict.fromkeys(
            ("normalised", "normalised_interval", "normalised_p95", "share_over_half"), None
        )
        if len(self.ssim) < FEWEST:
            return nothing
        floors = [self.floor_ssim] if self.label_ssim is None else [self.floor_ssim, self.label_ssim]
        highest = max(floors, key=lambda scores: float(scores.mean()))
        found = normalised_leakage(self.ssim, highest, self.raw_ssim, seed=0)
        if found.mean is None or found.p95 is None or found.share_over_half is None:
            return nothing
        return {
            "normalised": found.mean.value,
            "normalised_interval": [found.mean.low, found.mean.high],
            "normalised_p95": found.p95.value,
            "share_over_half": found.share_over_half.value,
        }


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """How well a private attribute is recognised.

    Args:
        attribute: Its name.
        accuracy: Share of test samples recognised from their obfuscated form, in [0, 1].
        raw_accuracy: The same attack's on raw samples: the control, and the ceiling.
        chance: Share of the most frequent value among the test samples.
        samples: How many were scored.
    """

    attribute: str
    accuracy: float
    raw_accuracy: float
    chance: float
    samples: int

    def figures(self) -> dict[str, Any]:
        """The `attribute` part of a result file."""
        return {
            "attribute": self.attribute,
            "attack": NAME,
            "threat_level": THREAT_LEVEL,
            "accuracy": self.accuracy,
            "raw_accuracy": self.raw_accuracy,
            "chance": self.chance,
            "samples": self.samples,
        }


def scored_part(test: Split) -> npt.NDArray[np.int64]:
    """Indices of the test samples that an attack is scored on: all, or as many as fit, evenly spaced."""
    values = int(np.prod(test.samples.shape[1:]))
    count = min(len(test.labels), max(1, _SCORED_VALUES // values))
    return np.unique(np.linspace(0, len(test.labels) - 1, count).astype(np.int64))


def measure_leakage(
    dataset: Dataset,
    session: ObfuscationSession,
    *,
    answered: npt.NDArray[np.int64],
    epochs: float,
    seed: int,
    folder: Path,
    progress: Progress,
    task: str = "decoder-obfuscated",
    from_label: bool = False,
) -> Leakage:
    """Attacks one obfuscation network with a decoder, beside its controls.

    Args:
        dataset: The attacker trains on `train`; everything is scored on `test` (see `scored_part`).
        session: The obfuscation network that the device uses.
        answered: Labels that the backend gave to the obfuscated test samples, `(N,)` int64.
        epochs: Passes over the attacker's pairs.
        seed: Of the attacker's weights and order.
        folder: Where unfinished attackers keep their state.
        progress: Told of every step.
        task: Name of the unfinished attacker's file; the one on raw samples has its own in the same folder.
        from_label: Whether the same attack is also asked what the label alone gives it; an attack that is
            trained for the score gets more from the label than its mean sample shows.

    Raises:
        AttackError: no sample is left to the attacker. One that is scored, by value, is never among its own:
            it is left out and said.
    """
    scored = scored_part(dataset.test)
    test = dataset.test.take(scored).samples[:]
    raw_train, raw_test = mapped(dataset.train.samples, as_unit), as_unit(test)
    received_train = mapped(dataset.train.samples, lambda raw: as_unit(session.obfuscate(raw)))
    received_test = as_unit(obfuscate_all(session, test))
    known = WhiteBox(received=raw_train, raw=raw_train, labels=dataset.train.labels)
    overlap = known.overlap(raw_test)
    if overlap.any():
        # The published split itself has the same sample on both sides: the attacker does without its copy.
        progress.say(f"{int(overlap.sum())} of the attacker's samples are among those scored; left out")
    kept = np.flatnonzero(~overlap)

    def attack(name: str, train: AnyRows, test: Samples, task: str, share: float = 1.0) -> Samples:
        knowledge = WhiteBox(
            received=taken(train, kept), raw=taken(raw_train, kept), labels=dataset.train.labels[kept]
        )
        options: dict[str, Any] = {}
        if name == "decoder":
            settings = {
                "data": dataset.fingerprint,
                "received": sha256_hex(np.ascontiguousarray(train[:64]).tobytes()),
                "epochs": epochs * share,
                "seed": seed,
            }
            path = folder / f"{task}.safetensors"
            options = {
                "epochs": epochs * share,
                "checkpoint": Checkpoint(path=path, fingerprint=fingerprint(settings)),
            }
        # The registry knows attacks by their common settings; these two are its own and have more.
        build: Any = ATTACKS.get(name)
        fitted: Reconstruction = build(**options).fit(knowledge, seed=seed, progress=progress)
        return fitted(test, answered[scored])

    reconstructed = attack("decoder", received_train, received_test, task)
    reconstructed_raw = attack("decoder", raw_train, raw_test, "decoder-raw")
    floor = attack("class-mean", received_train, received_test, "class-mean")
    label_ssim = None
    if from_label:
        count, shape = len(dataset.spec.classes), raw_test.shape[1:]
        train_pictures, test_pictures = (
            label_rows(labels, count, shape) for labels in (dataset.train.labels, answered[scored])
        )
        from_labels = attack("decoder", train_pictures, test_pictures[:], "decoder-label", share=_LABEL_SHARE)
        label_ssim = ssim(raw_test, from_labels)
    return Leakage(
        label_ssim=label_ssim,
        reconstructed=reconstructed,
        reconstructed_raw=reconstructed_raw,
        floor=floor,
        ssim=ssim(raw_test, reconstructed),
        raw_ssim=ssim(raw_test, reconstructed_raw),
        floor_ssim=ssim(raw_test, floor),
        mse=mse(raw_test, reconstructed),
    )


def measure_recognition(
    dataset: Dataset,
    session: ObfuscationSession,
    *,
    share: float,
    seed: int,
    progress: Progress,
    raw_accuracy: float | None = None,
) -> Recognition | None:
    """Recognises the case's private attribute from obfuscated samples, beside raw ones.

    Args:
        dataset: The attacker trains on `train` and is scored on `test`.
        session: The obfuscation network that the device uses.
        share: Of the full number of passes, > 0.
        seed: Of the attacker's weights and order.
        progress: Told of every step.
        raw_accuracy: The same attack's on raw samples, where it was measured before.

    Returns:
        None where the case has no attribute, or where the test has values that nobody trained on.
    """
    train, test = dataset.train, dataset.test
    if dataset.spec.attribute is None or train.attribute is None or test.attribute is None:
        return None
    if not set(np.unique(test.attribute)) <= set(np.unique(train.attribute)):
        return None
    epochs = share * max(_PROBE_EPOCHS, _PROBE_STEPS * 64 / len(train.labels))

    def share_right(view: Callable[[Samples], Samples]) -> float:
        known = KnownAttributes(received=mapped(train.samples, view), values=np.asarray(train.attribute))
        guesses = probe_attribute(
            known, mapped(test.samples, view), epochs=epochs, seed=seed, progress=progress
        )
        return float((guesses == test.attribute).mean())

    counts = np.bincount(test.attribute)
    return Recognition(
        attribute=dataset.spec.attribute.name,
        accuracy=share_right(lambda raw: as_unit(session.obfuscate(raw))),
        raw_accuracy=share_right(as_unit) if raw_accuracy is None else raw_accuracy,
        chance=float(counts.max() / counts.sum()),
        samples=len(test.labels),
    )


def obfuscate_all(session: ObfuscationSession, raw: AnyRows) -> Samples:
    """Obfuscates any number of samples in batches; `(N, ...)` in, the same shape and dtype out."""
    return np.concatenate([session.obfuscate(part) for part in batches(raw)])
