"""Between the wire and the networks, in torch: what `InputSpec.to_wire` and `from_wire` do, with gradients.

Obfuscation networks work on float32 samples in [0, 1] with channels first. What a backend takes may be other
integers, another range, normalised, or channels last; an obfuscated request must be as legal as a raw one.
"""

from typing import Final, final

import torch
from torch import Tensor, nn

from obfnet.core.spec import InputSpec

_LEVELS: Final = 256.0
# Axes of a batch, channels first, that a layout does without: each has one place.
_LEFT_OUT: Final = {"HW": (1,), "CT": (2,), "T": (1, 2)}
# Scales and offsets of a wire are multiples of this: with 257 levels no product or sum leaves 24 bits.
_GRID: Final = 4096.0


@final
class WireEnds(nn.Module):
    """The two ends of a network that is trained on samples in [0, 1] and used on samples of a spec.

    Args:
        spec: Of the wire.
        exact: Whether the way to the wire must not round.

    Differs from `InputSpec.to_wire`: scales and offsets are rounded to multiples of 1/4096, less than a
        hundredth of a grey level.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, spec: InputSpec, *, exact: bool = False) -> None:
        super().__init__()
        self.spec, self.exact = spec, exact
        self._channels_last = spec.layout == "HWC" and len(spec.shape) == 3
        same = spec.unit_shape == spec.shape
        self._left_out = () if same else _LEFT_OUT.get(spec.layout, ())
        behind = (1,) * (len(spec.unit_shape) - 1)
        for name, numbers in zip(("scale", "offset"), spec.channel_scales(), strict=True):
            rounded = (torch.tensor(numbers, dtype=torch.float64) * _GRID).round() / _GRID
            self.register_buffer(name, rounded.float().reshape(-1, *behind), persistent=False)

    def as_unit(self, samples: Tensor) -> Tensor:
        """Samples of the wire, `(N, *shape)`, as `(N, *unit_shape)` float32 in [0, 1]."""
        if self.spec.dtype == "uint8":
            return self._channels_first(samples.float() / 255.0)
        if self.spec.is_unit:
            return samples
        return ((self._channels_first(samples) - self.offset) / self.scale).clamp(0.0, 1.0)

    def as_wire(self, unit: Tensor, *, straight: bool = False) -> Tensor:
        """Samples in [0, 1], `(N, *unit_shape)`, as they are sent, `(N, *shape)`.

        Args:
            unit: Samples.
            straight: Stay in float32 where the wire has integers, with gradients straight through their
                rounding (Bengio et al. 2013): for training.
        """
        if self.spec.dtype == "uint8":
            levels = unit * 255.0
            if straight:
                return self._in_layout(levels + (levels.round() - levels).detach())
            return self._in_layout(levels.round().to(torch.uint8))
        if self.spec.is_unit:
            return unit
        if self.exact:
            unit = (unit * _LEVELS).round() * (1 / _LEVELS)
        return self._in_layout(unit * self.scale + self.offset).clamp(self.spec.low, self.spec.high)

    # By axes and not by sizes: training asks about samples of other sizes too, and an exported graph takes
    # batches of any.
    def _channels_first(self, samples: Tensor) -> Tensor:
        if self._channels_last:
            return samples.movedim(3, 1)
        for axis in self._left_out:
            samples = samples.unsqueeze(axis)
        return samples

    def _in_layout(self, samples: Tensor) -> Tensor:
        if self._channels_last:
            return samples.movedim(1, 3)
        for axis in reversed(self._left_out):
            samples = samples.squeeze(axis)
        return samples
