"""The networks: inference networks (I), obfuscation networks (O), and the classifier that needs no cloud.

All of them work on float tensors in [0, 1], `(N, C, H, W)`. Integer wire types are an affair of
`export`; training is an affair of `training`. Two registries name the architectures of the command line.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from torch import nn

from obfnet.core.errors import UsageError
from obfnet.core.registry import Registry

Shape = tuple[int, int, int]
"""Channels, height and width of a sample."""

CAMERA_SIDE: Final = 192
"""Pixels; pictures with both sides at least as long are trained otherwise, since they cost more."""


class ObfuscationArchitecture(Protocol):
    """What the registry holds of an obfuscation network: called, it builds a freshly initialised one."""

    @property
    def default_hidden(self) -> int:
        """`hidden` of the published network, or of ours where there is none."""

    def __call__(self, shape: Shape, hidden: int) -> nn.Module:
        """A network for samples of `shape`, as wide as `hidden` says."""


INFERENCE_ARCHITECTURES: Final = Registry[Callable[[Shape, int], nn.Module]](
    "inference architecture",
    {
        "cnn": "obfnet.nets.inference:InferenceCNN",
        "mlp": "obfnet.nets.inference:InferenceMLP",
        "fsd-cnn": "obfnet.nets.speech:speech_inference_cnn",
        "fsd-mlp": "obfnet.nets.speech:speech_inference_mlp",
        "asl-cnn": "obfnet.nets.signs:sign_inference_cnn",
        "asl-mlp": "obfnet.nets.signs:sign_inference_mlp",
        "residual": "obfnet.nets.residual:ResidualNetwork",
        "compact": "obfnet.nets.residual:compact_network",
    },
    extra="train",
)

OBFUSCATION_ARCHITECTURES: Final = Registry[ObfuscationArchitecture](
    "obfuscation architecture",
    {
        "mlp": "obfnet.nets.obfuscation:ObfuscationMLP",
        "cnn": "obfnet.nets.obfuscation:ObfuscationCNN",
        "fsd-mlp": "obfnet.nets.speech:SpeechObfuscationMLP",
        "fsd-cnn": "obfnet.nets.speech:SpeechObfuscationCNN",
        "asl-mlp": "obfnet.nets.signs:SIGN_OBFUSCATION_MLP",
        "asl-cnn": "obfnet.nets.signs:SIGN_OBFUSCATION_CNN",
        "conv": "obfnet.nets.convolutional_obfuscation:ConvolutionalObfuscation",
    },
    extra="train",
)


def check_sample_size(shape: Shape, *, height: int, width: int, network: str) -> None:
    """Raises unless samples are large enough for a network's convolutions and pooling.

    Args:
        shape: Channels, height and width of a sample.
        height: Smallest height that works.
        width: Smallest width that works.
        network: What to call the network in the message.

    Raises:
        UsageError: a side is too small; the message gives both sizes.

    Example:
        >>> check_sample_size((3, 64, 6), height=8, width=8, network="asl-cnn")
        Traceback (most recent call last):
        obfnet.core.errors.UsageError: expected samples of at least 8x8 for asl-cnn, got 64x6; choose \
another architecture or larger samples
    """
    if shape[1] < height or shape[2] < width:
        raise UsageError(
            f"samples of at least {height}x{width} for {network}",
            f"{shape[1]}x{shape[2]}",
            "choose another architecture or larger samples",
        )


def is_camera_size(shape: Sequence[int]) -> bool:
    """Whether samples of this shape, channels first, are of a camera's size.

    Example:
        >>> is_camera_size((3, 224, 224)), is_camera_size((3, 64, 224))
        (True, False)
    """
    return min(shape[1:]) >= CAMERA_SIDE
