"""The paper's inference networks for digits: I_C (convolutional) and I_M (fully connected).

They are what the backend serves, unmodified and frozen while obfuscation networks are trained. Layer
sizes are the paper's at 28x28 and follow the input elsewhere, so that the bundled 8x8 digits work too.
"""

import math
from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from obfnet.nets import Shape, check_sample_size


@final
class InferenceCNN(nn.Module):
    """I_C: two 3x3 convolutions, max-pooling, two fully connected layers; 1,199,882 parameters at 1x28x28.

    Args:
        shape: Channels, height and width of a sample; height and width at least 6.
        classes: Number of labels.

    Raises:
        UsageError: a side of `shape` is below 6.

    Source: arXiv 1912.09859, released code, MNIST (conv 32, conv 64, maxpool 2, dropout .25, FC 128,
        dropout .5, FC 10).
    Differs from paper: the second ReLU comes after the pooling. The two commute, so the function is
        the same; it is computed on a quarter of the values.
    """

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        check_sample_size(shape, height=6, width=6, network="cnn")
        channels, height, width = shape
        features = 64 * ((height - 4) // 2) * ((width - 4) // 2)
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.hidden = nn.Linear(features, 128)
        self.dropout2 = nn.Dropout(0.5)
        self.scores = nn.Linear(128, classes)

    def forward(self, samples: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Unnormalised scores (logits), one a class."""
        features = functional.relu(self.conv1(samples))
        features = functional.relu(functional.max_pool2d(self.conv2(features), 2))
        features = functional.relu(self.hidden(self.dropout1(features).flatten(1)))
        scores: Tensor = self.scores(self.dropout2(features))
        return scores


@final
class InferenceMLP(nn.Module):
    """I_M: three hidden layers of 512; 932,362 parameters at 1x28x28.

    Args:
        shape: Channels, height and width of a sample.
        classes: Number of labels.

    Source: arXiv 1912.09859, released code, MNIST (FC 512 x3, FC 10).
    """

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(shape), 512),
            nn.ReLU(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, classes),
        )

    def forward(self, samples: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        """Unnormalised scores (logits), one a class."""
        scores: Tensor = self.layers(samples)
        return scores
