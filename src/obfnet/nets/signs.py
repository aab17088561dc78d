"""The paper's networks for sign language: I_M, I_C, O_M(n) and O_C(n) on colour photographs of 64x64.

I_C has 111 million parameters: it can be built and served, but training it is out of reach of a small
machine, and no figure of another network is to be called its. The O are those for digits with dropout;
the paper has none for CIFAR-10, where the same forms serve with the sample's size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, final

from torch import nn

from obfnet.nets import Shape, check_sample_size
from obfnet.nets.obfuscation import ObfuscationCNN, ObfuscationMLP

_WIDTH: Final = 1024


def sign_inference_mlp(shape: Shape, classes: int) -> nn.Sequential:
    """I_M: six hidden layers of 1,024; 17,861,661 parameters at 3x64x64 and 29 classes.

    Args:
        shape: Channels, height and width of a sample.
        classes: Number of labels.

    Returns:
        A network that gives unnormalised scores (logits), one a class.

    Source: arXiv 1912.09859, released code, ASL (FC 1024 x6, FC 29).
    """
    hidden: list[nn.Module] = []
    for before, after in pairwise([math.prod(shape), *[_WIDTH] * 6]):
        hidden += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(_WIDTH, classes))


def sign_inference_cnn(shape: Shape, classes: int) -> nn.Sequential:
    """I_C: three 3x3 convolutions, max-pooling, three fully connected layers.

    111,405,149 parameters at 3x64x64 and 29 classes, 446 MB of memory.

    Args:
        shape: Channels, height and width of a sample; height and width at least 8.
        classes: Number of labels.

    Returns:
        A network that gives unnormalised scores (logits), one a class.

    Raises:
        UsageError: `shape` is too small.

    Source: arXiv 1912.09859, released code, ASL (conv 32, 64, 128, maxpool 2, dropout .25, FC 1024 x2,
        dropout .5, FC 29; no padding).
    Differs from paper: the third ReLU comes after the pooling; the two commute.
    """
    check_sample_size(shape, height=8, width=8, network="asl-cnn")
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.Conv2d(64, 128, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(128 * ((height - 6) // 2) * ((width - 6) // 2), _WIDTH),
        nn.ReLU(),
        nn.Linear(_WIDTH, _WIDTH),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(_WIDTH, classes),
    )


@final
@dataclass(frozen=True, kw_only=True)
class SignObfuscation:
    """One of the paper's O for digits with the dropout that it has for sign language.

    Args:
        build: Makes the network for a shape and a width n.
        default_hidden: n where none is given.

    Source: arXiv 1912.09859, released code, ASL.
    Differs from paper: as `ObfuscationMLP` and `ObfuscationCNN`.
    """

    build: Callable[[Shape, int], nn.Module]
    default_hidden: int

    def __call__(self, shape: Shape, hidden: int) -> nn.Module:
        """A freshly initialised network.

        Args:
            shape: Channels, height and width of a sample; for O_C height and width at least 4.
            hidden: n, the width of the bottleneck.

        Raises:
            UsageError: `shape` is too small.
        """
        return self.build(shape, hidden)


# O_M(n): dropout .4 at the output; 2,469,988 parameters at n=100 and 12,595,712 at n=512, 3x64x64.
SIGN_OBFUSCATION_MLP: Final = SignObfuscation(
    build=partial(ObfuscationMLP, output_dropout=0.4), default_hidden=100
)

# O_C(n): besides, dropout .25 behind the pooling; 4,317,284 parameters at n=100, 3x64x64.
SIGN_OBFUSCATION_CNN: Final = SignObfuscation(
    build=partial(ObfuscationCNN, front_dropout=0.25, output_dropout=0.4), default_hidden=100
)
