"""The networks: inference networks (I), obfuscation networks (O), and the classifier that needs no cloud.

All of them work on float tensors in [0, 1], `(N, C, H, W)`. Integer wire types are an affair of
`export`; training is an affair of `training`. Two registries name the architectures of the command line.
"""

from collections.abc import Callable
from typing import Final

from torch import nn

from obfnet.core.registry import Registry

INFERENCE_ARCHITECTURES: Final = Registry[Callable[..., nn.Module]](
    "inference architecture",
    {"cnn": "obfnet.nets.inference:InferenceCNN", "mlp": "obfnet.nets.inference:InferenceMLP"},
    extra="train",
)

OBFUSCATION_ARCHITECTURES: Final = Registry[Callable[..., nn.Module]](
    "obfuscation architecture",
    {"mlp": "obfnet.nets.obfuscation:ObfuscationMLP", "cnn": "obfnet.nets.obfuscation:ObfuscationCNN"},
    extra="train",
)
