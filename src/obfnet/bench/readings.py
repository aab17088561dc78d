"""One bundle audited three ways: by its ONNX file, as a torch module, and from pairs recorded of it.

However an obfuscator is read, the audit must say the same, within its own interval; that is measured here.
All readings attack the same samples: the recorded pairs, cut as the audit of pairs cuts them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from obfnet.attacks import Obfuscator
from obfnet.attacks.known_network import KnownNetwork
from obfnet.auditing.engine import audit_subject
from obfnet.auditing.pairing import evenly_spaced
from obfnet.auditing.pairs import read_pairs
from obfnet.auditing.settings import AuditSettings
from obfnet.auditing.subject import AuditSubject, subject_of_pairs, subject_of_sessions
from obfnet.bundle import Bundle
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples, as_unit
from obfnet.data.case import Dataset
from obfnet.data.rows import batches
from obfnet.data.table import Split

# Of recorded pairs a quarter at most is scored on.
_PAIRS_A_SCORED: Final = 4


class _TorchNetwork:
    """The graph as a torch module answers, without ONNX Runtime; an `Obfuscator`."""

    def __init__(self, network: KnownNetwork) -> None:
        self._module = network.differentiable().eval()

    def obfuscate(self, raw: Samples) -> Samples:
        with torch.no_grad():
            parts = [self._module(torch.from_numpy(np.ascontiguousarray(some))) for some in batches(raw)]
        sent: Samples = torch.cat(parts).numpy()
        return sent

    def differentiable(self) -> nn.Module:
        return self._module


def audit_readings(
    bundle: Bundle,
    dataset: Dataset,
    settings: AuditSettings,
    *,
    work: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Audits a bundle by its graph in ONNX Runtime, by the same as a torch module, and by recorded pairs.

    Args:
        bundle: Made for the case's samples.
        dataset: Its case.
        settings: How.
        work: Folder of finished attacks and of the recorded pairs.
        progress: Told of every step.

    Returns:
        `each`: name, leakage with interval, attack and threat level of a reading; `agree`: whether the mean
        of each lies in the interval of each other one.

    Raises:
        ObfNetError: whatever an audit raises.
    """
    settings = replace(settings, threat_level="T2")
    network, budget = KnownNetwork.of(bundle), settings.spending()
    path = work / "recorded.npz"
    _record(network, dataset, attacker=budget.attacker, scored=budget.scored, path=path)
    recorded = subject_of_pairs(
        read_pairs(path, work=work, progress=progress),
        seed=settings.seed,
        scored=budget.scored,
        limit=budget.attacker,
    )
    subjects = {
        "onnx": _read_by(network, recorded, dataset, settings, identity=f"{bundle.sha256} onnx"),
        "torch": _read_by(
            _TorchNetwork(network), recorded, dataset, settings, identity=f"{bundle.sha256} torch"
        ),
        "pairs": recorded,
    }
    each = []
    for reading, subject in subjects.items():
        progress.say(f"audit of {bundle.manifest.name}, read as {reading}")
        about = {"command": "obfnet bench audit", "source": "bundle", "case": dataset.spec.name}
        document = audit_subject(subject, settings, folder=work, progress=progress, about=about).document
        headline = document["headline"]
        each.append(
            {
                "reading": reading,
                "normalised": headline["normalised_leakage"],
                "normalised_interval": headline["normalised_leakage_interval"],
                "attack": headline["attack"],
                "threat_level": headline["threat_level"],
                "samples": document["subject"]["samples"],
            }
        )
    agree = all(
        other["normalised_interval"][0] <= one["normalised"] <= other["normalised_interval"][1]
        for one in each
        for other in each
    )
    return {"bundle": bundle.manifest.name, "case": dataset.spec.name, "each": each, "agree": agree}


def _read_by(
    network: Obfuscator, recorded: AuditSubject, dataset: Dataset, settings: AuditSettings, *, identity: str
) -> AuditSubject:
    """A network that obfuscates, asked about the raw samples of the recorded pairs."""
    known, asked = recorded.attacker, recorded.scored
    budget = settings.spending()
    return subject_of_sessions(
        replace(
            dataset,
            train=Split(samples=known.raw, labels=known.labels),
            test=Split(samples=asked.raw, labels=asked.answered),
        ),
        (network,),
        index=0,
        answered=None,
        limit_pairs=budget.attacker,
        limit_scored=budget.scored,
        identity=identity,
    )


def _record(network: KnownNetwork, dataset: Dataset, *, attacker: int, scored: int, path: Path) -> None:
    # Training samples only, enough for the attacker of the other readings and for as many scored ones.
    train = dataset.train
    some = train.take(evenly_spaced(len(train.labels), max(attacker + scored, _PAIRS_A_SCORED * scored)))
    raw = as_unit(some.samples[:])
    np.savez(path, raw=raw, obfuscated=network.obfuscate(raw), label=np.asarray(some.labels))
