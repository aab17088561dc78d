"""The honest baseline: a classifier that runs on the device and costs no more than O.

Where it is as accurate as the cloud's answer to obfuscated samples, remote inference buys nothing
but the inference network's confidentiality; every report shows it beside the obfuscated accuracy.
"""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from obfnet.core.errors import UsageError
from obfnet.nets.cost import count_macs

Shape = tuple[int, int, int]


@final
class DeviceOnlyClassifier(nn.Module):
    """Two strided convolutions and two fully connected layers.

    Args:
        shape: Channels, height and width of a sample.
        classes: Number of labels.
        width: Channels of the first convolution; the others follow.
    """

    def __init__(self, shape: Shape, classes: int, width: int) -> None:
        super().__init__()
        channels, height, rows = shape
        features = 2 * width * ((height + 3) // 4) * ((rows + 3) // 4)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(features, 8 * width),
            nn.ReLU(),
            nn.Linear(8 * width, classes),
        )

    def forward(self, samples: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Unnormalised scores (logits), one a class."""
        scores: Tensor = self.layers(samples)
        return scores


def device_only_within(shape: Shape, classes: int, max_macs: int) -> DeviceOnlyClassifier:
    """The widest device-only classifier that costs at most `max_macs` multiply-accumulates a sample.

    Raises:
        UsageError: even the narrowest costs more.
    """
    fitting = None
    width = 1
    while count_macs(candidate := DeviceOnlyClassifier(shape, classes, width), shape) <= max_macs:
        fitting = candidate
        width += 1
    if fitting is None:
        raise UsageError(
            f"a budget for a classifier of {count_macs(candidate, shape)} MACs",
            f"{max_macs}",
            "use a larger O",
        )
    return fitting
