"""The paper's networks for spoken digits: I_C, I_M, O_C and O_M on MFCC pictures of 20x45.

Layer sizes are the paper's at 1x20x45 and follow the input elsewhere. How a clip becomes such a picture
is an affair of `data`; nothing here knows sound.
"""

import math
from itertools import pairwise
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from obfnet.nets import Shape, check_sample_size
from obfnet.nets.obfuscation import ReplayableDropout
from obfnet.nets.standardise import Standardised


def speech_inference_cnn(shape: Shape, classes: int) -> Standardised:
    """I_C: three convolutions, max-pooling, three fully connected layers; 1,110,618 parameters at 1x20x45.

    Args:
        shape: Channels, height (coefficients) and width (frames) of a sample; at least 7x10.
        classes: Number of labels.

    Returns:
        A network that gives unnormalised scores (logits), one a class.

    Raises:
        UsageError: `shape` is too small.

    Source: arXiv 1912.09859, released code, FSD (conv 32 2x2, conv 48 3x3, conv 64 3x6, maxpool 2,
        dropout .25, FC 128, dropout .1, FC 64, dropout .25, FC 10; no padding).
    Differs from paper: features come scaled to [0, 1] per coefficient, where the paper's are plain MFCCs,
        and are standardised by fixed means and spreads of the training set. The third ReLU comes
        after the pooling, and those of the fully connected layers before their
        dropout; they commute.
    """
    check_sample_size(shape, height=7, width=10, network="fsd-cnn")
    channels, height, width = shape
    body = nn.Sequential(
        nn.Conv2d(channels, 32, 2),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3),
        nn.ReLU(),
        nn.Conv2d(48, 64, (3, 6)),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Flatten(),
        *_hidden(64 * ((height - 5) // 2) * ((width - 8) // 2), ((128, 0.1), (64, 0.25))),
        nn.Linear(64, classes),
    )
    return Standardised(shape, body)


def speech_inference_mlp(shape: Shape, classes: int) -> Standardised:
    """I_M: hidden layers of 800, 300, 128 and 64; 1,008,534 parameters at 1x20x45.

    Args:
        shape: Channels, height (coefficients) and width (frames) of a sample.
        classes: Number of labels.

    Returns:
        A network that gives unnormalised scores (logits), one a class.

    Source: arXiv 1912.09859, released code, FSD (FC 800-300-128-64-10, dropouts .15 .15 .1 .25).
    Differs from paper: features come scaled to [0, 1] per coefficient, where the paper's are plain MFCCs,
        and are standardised by fixed means and spreads of the training set. ReLU comes before
        dropout; the two commute.
    """
    hidden = _hidden(math.prod(shape), ((800, 0.15), (300, 0.15), (128, 0.1), (64, 0.25)))
    return Standardised(shape, nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, classes)))


@final
class SpeechObfuscationMLP(nn.Module):
    """O_M: FC n, BN, ReLU, FC back to the sample's size, BN, ReLU, cut at 1.

    363,300 trained parameters at n=200, 1x20x45; Keras counts 365,500, since it adds the running mean and
    variance of the 1,100 normalised values.

    Args:
        shape: Channels, height (coefficients) and width (frames) of a sample.
        hidden: n, the width of the bottleneck; the paper's is 200.

    Source: arXiv 1912.09859, released code, FSD.
    Differs from paper: values above 1 are cut, so that an obfuscated sample has the range of a raw one;
        features come scaled to [0, 1]. Batch normalisation has torch's momentum and epsilon.
    """

    default_hidden: ClassVar[int] = 200

    def __init__(self, shape: Shape, hidden: int) -> None:
        super().__init__()
        self.shape, self.hidden = shape, hidden
        values = math.prod(shape)
        self.layers = nn.Sequential(
            nn.Linear(values, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, values),
            nn.BatchNorm1d(values),
        )

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1]."""
        obfuscated: Tensor = self.layers(raw.flatten(1)).clamp(0.0, 1.0)
        return obfuscated.reshape(-1, *self.shape)


@final
class SpeechObfuscationCNN(nn.Module):
    """O_C: two small convolutions, max-pooling, FC to the sample's size, ReLU, cut at 1.

    649,218 trained parameters at 5 channels, 1x20x45; Keras counts 649,234, since it adds the running mean
    and variance of the 8 normalised channels.

    Args:
        shape: Channels, height (coefficients) and width (frames) of a sample; at least 5x10.
        hidden: Channels of the second convolution; the paper's are 5.

    Raises:
        UsageError: `shape` is too small.

    Source: arXiv 1912.09859, released code, FSD (conv 3 2x4, ReLU, BN, conv 5 3x6, ReLU, BN, maxpool 2,
        dropout .25, FC 900, dropout .15, ReLU; no padding).
    Differs from paper: values above 1 are cut, so that an obfuscated sample has the range of a raw one;
        features come scaled to [0, 1]. The L2 penalty of .1 on FC 900 is a matter of training, and not
        applied here. Batch normalisation has torch's momentum and epsilon.
    """

    default_hidden: ClassVar[int] = 5

    def __init__(self, shape: Shape, hidden: int) -> None:
        super().__init__()
        check_sample_size(shape, height=5, width=10, network="fsd-cnn")
        self.shape, self.hidden = shape, hidden
        channels, height, width = shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 3, (2, 4)),
            nn.ReLU(),
            nn.BatchNorm2d(3),
            nn.Conv2d(3, hidden, (3, 6)),
            nn.ReLU(),
            nn.BatchNorm2d(hidden),
            nn.MaxPool2d(2),
            ReplayableDropout(0.25),
            nn.Flatten(),
            nn.Linear(hidden * ((height - 3) // 2) * ((width - 8) // 2), math.prod(shape)),
            ReplayableDropout(0.15),
        )

    def forward(self, raw: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Obfuscated samples in [0, 1]."""
        obfuscated: Tensor = self.layers(raw).clamp(0.0, 1.0)
        return obfuscated.reshape(-1, *self.shape)


def _hidden(features: int, layers: tuple[tuple[int, float], ...]) -> list[nn.Module]:
    widths = [features, *(width for width, _ in layers)]
    modules: list[nn.Module] = []
    for (before, after), (_, rate) in zip(pairwise(widths), layers, strict=True):
        modules += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(rate)]
    return modules
