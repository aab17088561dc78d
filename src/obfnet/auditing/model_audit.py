"""The other side of an audit as a user runs it: what a bundle tells a curious device about I.

Public samples are half of the case's test samples, which neither I nor O was trained on; the other half is
scored. The figures go into the `audit.json` of the same folder, beside those of the data side if it was run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from obfnet.attacks import Obfuscator
from obfnet.auditing.model_side import measure_model_confidentiality
from obfnet.auditing.result import model_document
from obfnet.auditing.settings import AuditSettings
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples
from obfnet.data.case import Dataset
from obfnet.guarantees.statement import Guarantee
from obfnet.training.inference import InferenceNetwork


def audit_model(
    dataset: Dataset,
    obfuscators: tuple[Obfuscator, ...],
    inference: InferenceNetwork,
    settings: AuditSettings,
    *,
    about: Mapping[str, Any],
    name: str,
    guarantee: Guarantee,
    file: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Measures what bundles, answers and public samples tell about I.

    Args:
        dataset: The case; its training samples are the members of O's training set.
        obfuscators: The networks of the bundles.
        inference: The backend's network, which is asked and never shown.
        settings: Effort and seed.
        about: `command`, `source`, `case`, `split`.
        name: Of the pool or bundle.
        guarantee: What a request promises.
        file: `audit.json`; of a former audit of the same name the data side is kept.
        progress: Told of every step.

    Returns:
        The content of `audit.json`.

    Raises:
        AttackError: too few test samples.
    """
    test, train = dataset.test, dataset.train
    # Every other sample: test sets are often sorted.
    public, scored = (test.take(np.arange(start, len(test.labels), 2)) for start in (0, 1))
    measured = measure_model_confidentiality(
        public=public,
        scored=scored,
        obfuscators=obfuscators,
        ask=_asks(inference),
        members=train,
        non_members=scored,
        public_is="disjoint",
        trained_on=train.samples,
        effort=settings.spending().effort,
        seed=settings.seed,
        progress=progress,
    )
    former = former_document(file, name)
    if former is not None:
        return {**former, "model_confidentiality": measured}
    return model_document(
        settings,
        about,
        name=name,
        kind=dataset.spec.kind,
        guarantee=guarantee,
        measured=measured,
    )


def former_document(file: Path, name: str) -> dict[str, Any] | None:
    """The content of an `audit.json` of the same pool or bundle; None where there is none.

    Args:
        file: Where it may lie.
        name: Of the pool or bundle.
    """
    try:
        former: dict[str, Any] = json.loads(file.read_text())
        return former if former["subject"]["name"] == name else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _asks(inference: InferenceNetwork) -> Any:
    integer = inference.card.input.dtype == "uint8"

    def ask(samples: Samples) -> npt.NDArray[np.float32]:
        # What reaches the backend has the wire's type: values between two levels do not.
        sent = (samples * 255).round() / 255 if integer else samples
        with torch.no_grad():
            scores: npt.NDArray[np.float32] = inference.network(
                torch.from_numpy(np.ascontiguousarray(sent, np.float32))
            ).numpy()
        return scores

    return ask
