"""Our inference networks for photographs: a whitening layer and three residual stages, in two widths.

The paper's networks for pictures are either weak (fully connected) or larger than two processor cores can
train; a figure that says `residual` or `compact` is of these and not of the paper's.
"""

from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import UsageError

Shape = tuple[int, int, int]
_EDGE: Final = 2
_SMOOTHING: Final = 5e-4
_SCORE_SCALE: Final = 1 / 9
_CALIBRATED_AT_ONCE: Final = 100


@final
class ResidualNetwork(nn.Module):
    """Whitened patches, then three stages of convolution, pooling and a residual convolution.

    Args:
        shape: Channels, height and width of a sample; height and width at least 16. Pictures of 48 pixels
            and more are halved by the first learnt layer.
        classes: Number of labels.
        widths: Channels of the three stages.

    Source: the whitening layer, the identity initialisation and the order of the layers follow Jordan 2024,
        *94% on CIFAR-10 in 3.29 Seconds on a Single GPU* (arXiv 2404.00498), sections 3.1 to 3.3.
    Differs from paper: a residual connection round each stage's second convolution; plain batch
        normalisation; no test-time augmentation.
    """

    def __init__(self, shape: Shape, classes: int, widths: tuple[int, int, int] = (64, 256, 256)) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 16:
            raise UsageError("samples of at least 16x16", f"{height}x{width}", "use architecture cnn or mlp")
        patch = channels * _EDGE**2
        self.whiten = nn.Conv2d(channels, 2 * patch, _EDGE)
        self.whiten.weight.requires_grad_(False)
        stride = 2 if min(height, width) >= 48 else 1
        self.stages = nn.Sequential(
            _Stage(2 * patch, widths[0], stride), _Stage(widths[0], widths[1]), _Stage(widths[1], widths[2])
        )
        self.scores = nn.Linear(widths[2], classes, bias=False)

    @torch.no_grad()
    def calibrate(self, samples: Float[Tensor, "N C H W"]) -> None:
        """Sets the whitening filters from the patches of some training samples; they are not learnt.

        Args:
            samples: A few thousand training samples, in [0, 1].
        """
        channels = samples.shape[1]
        size = channels * _EDGE**2
        count, total = 0, torch.zeros(size, dtype=torch.float64)
        products = torch.zeros(size, size, dtype=torch.float64)
        # The patches of all samples at once would take many times the samples' memory.
        for some in torch.split(samples, _CALIBRATED_AT_ONCE):
            patches = some.unfold(2, _EDGE, 1).unfold(3, _EDGE, 1)
            flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, size).double()
            count, total, products = count + len(flat), total + flat.sum(0), products + flat.T @ flat
        mean = total / count
        values, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))
        filters = (vectors / (values + _SMOOTHING).sqrt()).T.float().reshape(-1, channels, _EDGE, _EDGE)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, samples: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Unnormalised scores (logits), one a class."""
        features = self.stages(functional.silu(self.whiten(samples)))
        scores: Tensor = self.scores(features.amax((2, 3))) * _SCORE_SCALE
        return scores


def compact_network(shape: Shape, classes: int) -> ResidualNetwork:
    """The same in a fifth of the multiply-accumulates.

    Args:
        shape: As for `ResidualNetwork`.
        classes: Number of labels.
    """
    return ResidualNetwork(shape, classes, widths=(32, 96, 128))


@final
class _Stage(nn.Module):
    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        for convolution in (self.conv1, self.conv2):
            # As much of the layer as can be starts as the identity.
            nn.init.dirac_(convolution.weight.data[: convolution.weight.shape[1]])

    def forward(self, features: Tensor) -> Tensor:
        features = functional.silu(self.norm1(functional.max_pool2d(self.conv1(features), 2)))
        through: Tensor = functional.silu(self.norm2(self.conv2(features)))
        return features + through
