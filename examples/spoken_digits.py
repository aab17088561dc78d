"""A network of somebody's own that takes sounds: a second of speech at 16,000 Hz, as it is, to ten digits.

    python examples/spoken_digits.py --weights spoken.safetensors
    PYTHONPATH=examples OBFNET_SPOKEN=spoken.safetensors obfnet protect --model spoken_digits:build \
        --data fsd --shape 16000 --rate 16000 --bits 16 --count 1 --epochs 60 --out pool/

It is taught on the training clips of the case `fsd`, and hears all speakers there.
"""

import argparse
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from obfnet import load_case
from obfnet.cli.console import terminal_progress
from obfnet.fitting import Budget, Checkpoint, Schedule
from obfnet.training.classifier import accuracy, train_classifier

RATE_HZ = 16_000
CLASSES = 10
# Channels before and after, window and stride of each convolution.
WINDOWS = ((1, 64, 80, 8), (64, 64, 3, 1), (64, 128, 3, 1), (128, 256, 3, 1))


class SpokenDigits(nn.Module):
    """The network as its users know it: `(N, 16000)` in [-1, 1] to `(N, 10)` scores.

    Source: its form is that of M5, Dai et al. 2017, *Very Deep Convolutional Neural Networks for Raw
        Waveforms*, with half the channels and twice the first stride.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, window, stride in WINDOWS:
            layers += [
                nn.Conv1d(before, after, window, stride=stride, padding=window // 2, bias=False),
                nn.BatchNorm1d(after),
                nn.ReLU(),
                nn.MaxPool1d(4),
            ]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(256, CLASSES))

    def forward(self, sounds: Tensor) -> Tensor:
        """`(N, 16000)` to `(N, 10)`."""
        scores: Tensor = self.layers(sounds.unsqueeze(1))
        return scores


class OfUnit(nn.Module):
    """The same of waveforms as ObfNet trains classifiers: one row in [0, 1]."""

    def __init__(self, spoken: SpokenDigits) -> None:
        super().__init__()
        self.spoken = spoken

    def forward(self, samples: Tensor) -> Tensor:
        """`(N, 1, 1, 16000)` to `(N, 10)`."""
        scores: Tensor = self.spoken(samples.flatten(1) * 2 - 1)
        return scores


def build() -> nn.Module:
    """The taught network, from the file that `OBFNET_SPOKEN` names."""
    spoken = SpokenDigits()
    spoken.load_state_dict(load_file(os.environ.get("OBFNET_SPOKEN", "spoken.safetensors")))
    return spoken.eval()


def teach(weights: Path, data_dir: Path | None, epochs: float) -> None:
    """Teaches the network."""
    torch.manual_seed(0)
    progress = terminal_progress()
    network = OfUnit(SpokenDigits())
    schedule = Schedule(epochs=epochs, batch_size=64, peak_rate=2e-3, warm_up=0.25, weight_decay=1e-4)
    data = load_case("fsd", shape=(1, 1, RATE_HZ), rate_hz=RATE_HZ, data_dir=data_dir)
    train_classifier(
        network,
        data.train,
        Budget(
            schedule=schedule,
            seed=0,
            checkpoint=Checkpoint(path=weights.with_suffix(".part"), fingerprint=f"spoken {schedule}"),
            progress=progress,
            task="spoken digits",
        ),
        validation=data.validation,
        augmentation=("delay", "loudness"),
    )
    progress.say(f"{accuracy(network, data.validation):.2%} of the validation clips")
    save_file({name: value.contiguous() for name, value in network.spoken.state_dict().items()}, weights)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, default=Path("spoken.safetensors"))
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--epochs", type=float, default=20)
    chosen = parser.parse_args()
    teach(chosen.weights, chosen.data_dir, chosen.epochs)
