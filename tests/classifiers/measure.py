"""Measures `protect` on every classifier of the table, and on one classifier in three forms.

`python -m tests.classifiers.measure --out results/protect-onnx.json`, with `--only NAME` for one of them.
"""

import argparse
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from obfnet import load_case, protect
from obfnet.core.errors import ModelError
from obfnet.core.files import write_json
from obfnet.core.result import provenance
from obfnet.data.case import Split
from obfnet.models.source import open_model
from obfnet.models.wishes import Wishes
from obfnet.protecting.settings import ProtectSettings
from tests.classifiers.make_torch import convolutional, trained
from tests.classifiers.table import CLASSIFIERS, Classifier
from tests.classifiers.three_forms import forms_of, greatest_difference, input_gradient

# What is measured is accuracy; the audit that `protect` makes is not what this is about.
SETTINGS = ProtectSettings(bits=16, count=2, epochs=60, attacks=("ridge",))
COMMAND = "python -m tests.classifiers.measure --out results/protect-onnx.json"


def measured(row: Classifier, test: Split, folder: Path) -> dict[str, Any]:
    """Figures of one file, or why it cannot be protected."""
    model = onnx.load(row.path)
    outside = row.outside_scores(test.samples[:])
    figures: dict[str, Any] = {
        "name": row.name,
        "family": row.family,
        "exporter": row.exporter,
        "opset": max(one.version for one in model.opset_import if not one.domain),
        "operators": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        "accuracy_onnxruntime": float((outside.argmax(1) == test.labels).mean()),
    }
    try:
        with torch.no_grad():
            ours = open_model(row.path).module(torch.from_numpy(row.wire(test.samples[:]).copy())).numpy()
        figures["accuracy_executor"] = float((ours.argmax(1) == test.labels).mean())
        figures["greatest_score_difference"] = float(np.abs(ours - outside).max())
        made = protect(row.path, "digits", out=folder / row.name, settings=SETTINGS)
    except ModelError as exc:
        return figures | {"refusal": str(exc)}
    return figures | _of_pool(made.figures)


def _of_pool(figures: dict[str, Any]) -> dict[str, Any]:
    accuracy = figures["accuracy"]
    return {
        "accuracy_raw": accuracy["raw"],
        "accuracy_obfuscated": accuracy["obfuscated"],
        "accuracy_obfuscated_worst": accuracy["obfuscated_worst"],
        "accuracy_device_only": accuracy["device_only"],
        "worked_out": figures["model"]["worked_out"][0],
    }


def three_forms(test: Split, folder: Path) -> dict[str, Any]:
    """The same classifier and settings in each form, and its gradients beside torch's."""
    torch.manual_seed(0)
    forms = forms_of(trained(convolutional()), folder)
    torchs = input_gradient(forms["nn.Module"], test.samples[:], test.labels)
    found = {}
    for place, (name, source) in enumerate(forms.items()):
        print(name, flush=True)
        made = protect(
            source, "digits", out=folder / f"form-{place}", settings=SETTINGS, wishes=Wishes(range="0,1")
        )
        gradient = input_gradient(source, test.samples[:], test.labels)
        found[name] = _of_pool(made.figures) | {
            "greatest_gradient_difference": greatest_difference(gradient, torchs)
        }
    return found


def main() -> None:
    """Measures all, and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="one classifier, without the three forms")
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    test, begun = load_case("digits").test, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for row in CLASSIFIERS:
            if wanted.only in ("", row.name):
                print(row.name, flush=True)
                rows.append(measured(row, test, Path(folder)))
        forms = {} if wanted.only else three_forms(test, Path(folder))
    write_json(
        wanted.out,
        {
            "command": COMMAND,
            "case": "digits",
            "samples": {"test": len(test.labels)},
            "settings": asdict(SETTINGS),
            "classifiers": rows,
            "three_forms": forms,
            "budget_bits": SETTINGS.budget_bits,
            "seconds": {"total": round(time.monotonic() - begun, 2)},
            "seed": SETTINGS.seed,
            **provenance(),
        },
    )


if __name__ == "__main__":
    main()
