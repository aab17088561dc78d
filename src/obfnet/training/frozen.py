"""The frozen inference network as training asks it: its scores, and what it sees on the way to them."""

import math
import threading
from collections.abc import Callable
from typing import Any, Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from obfnet.fitting import Precision, arithmetic
from obfnet.nets.mode import evaluating

ROOM_BYTES: Final = 3 * 2**29
"""What one pass may keep for the way back, the same on every machine, so that the same parts are asked."""

_DEPTHS: Final = 3
_MOST_PLACES: Final = 64


class FrozenNetwork:
    """Scores and features of samples; several threads may ask at once.

    Features are the outputs of three of the network's own layers (modules without parts), evenly spaced, the
    last just before the scores; maps of more than 64 places a side are averaged down, since those of a whole
    batch are held at once. A network that is one function, without layers, has none.

    Where a batch would keep too much for its way back, it is passed in parts that are passed once more on the
    way back: the same gradients, for a third more time.

    Args:
        network: `(N, C, H, W)` in [0, 1] to scores; on `place`, in evaluation mode.
        shape: Channels, height and width of a sample; smaller ones may be asked about too.
        integer: Whether the wire's type is uint8: samples are rounded, with gradients straight through
            (Bengio et al. 2013, *Estimating or propagating gradients through stochastic neurons*).
        precision: Of the forward passes.
        place: Processor.
        room_bytes: What one pass may keep for the way back.
        first: Whether the output of its first layer is a feature too.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
        >>> cpu = torch.device("cpu")
        >>> with FrozenNetwork(network, (3, 4, 4), integer=True, precision="float32", place=cpu) as frozen:
        ...     scores, features = frozen.seen(torch.zeros(1, 3, 4, 4))
        >>> scores.shape, len(features)
        (torch.Size([1, 2]), 3)
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        *,
        integer: bool,
        precision: Precision,
        place: torch.device,
        room_bytes: int = ROOM_BYTES,
        first: bool = False,
    ) -> None:
        self._network, self._integer = network, integer
        self._precision, self._place = precision, place
        zeros = torch.zeros(1, *shape, device=place)
        self._layers = _spaced(_layers_in_order(network, zeros), first=first)
        self._room_bytes, self._at_once = room_bytes, dict[tuple[int, ...], int]()
        self.sample_bytes = self._kept_of(zeros)
        self.at_once = self._together(zeros)
        self._pass = threading.local()
        self._hooks = [layer.register_forward_hook(self._keep) for layer in self._layers]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the network as it was."""
        for hook in self._hooks:
            hook.remove()

    def __call__(self, samples: Tensor, /) -> Tensor:
        """Scores, `(N, K)`, of samples in [0, 1], `(N, C, H, W)`."""
        return self._in_parts(samples, self._scored)[0]

    def seen(self, samples: Tensor, /) -> tuple[Tensor, list[Tensor]]:
        """Scores and features, `(N, ...)` each."""
        scores, *features = self._in_parts(samples, self._with_features)
        return scores, features

    def _in_parts(self, samples: Tensor, ask: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        at_once = self._together(samples)
        if len(samples) <= at_once:
            return ask(samples)
        again = torch.is_grad_enabled() and samples.requires_grad
        parts = [
            checkpoint(ask, part, use_reentrant=False, preserve_rng_state=False) if again else ask(part)
            for part in torch.split(samples, at_once)
        ]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    def _together(self, samples: Tensor) -> int:
        """How many samples of that size pass at once; a network may keep as much of a smaller one."""
        size = tuple(samples.shape[1:])
        if size not in self._at_once:
            zeros = torch.zeros(1, *size, device=self._place)
            self._at_once[size] = max(1, self._room_bytes // max(1, self._kept_of(zeros)))
        return self._at_once[size]

    def _kept_of(self, zeros: Tensor) -> int:
        with torch.enable_grad(), arithmetic(self._precision, self._place):
            return _kept_bytes(self._network, zeros)

    def _scored(self, samples: Tensor) -> tuple[Tensor, ...]:
        sent = _rounded(samples) if self._integer else samples
        sent = sent.contiguous(memory_format=torch.channels_last)
        with arithmetic(self._precision, self._place):
            scores: Tensor = self._network(sent)
        return (scores.float(),)

    def _with_features(self, samples: Tensor) -> tuple[Tensor, ...]:
        self._pass.features = features = list[Tensor]()
        try:
            return *self._scored(samples), *features
        finally:
            del self._pass.features

    def _keep(self, _: nn.Module, __: Any, output: Tensor) -> None:
        # Each thread has its own list, and none unless it asked.
        features = getattr(self._pass, "features", None)
        if features is not None:
            # A copy: a layer after it may work in place.
            features.append(_small(output.float().clone()))


def _layers_in_order(network: nn.Module, sample: Tensor) -> list[nn.Module]:
    """Its modules without parts that are passed once and give numbers, in the order of the pass."""
    passed: list[nn.Module] = []

    def note(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            passed.append(layer)

    leaves = [layer for layer in network.modules() if layer is not network and not list(layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in leaves]
    try:
        with torch.no_grad(), evaluating(network):
            network(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return [layer for layer in passed if passed.count(layer) == 1]


def _kept_bytes(network: nn.Module, sample: Tensor) -> int:
    """What a pass of one sample keeps for the way back, weights aside."""
    kept: dict[int, int] = {}
    weights = {value.untyped_storage().data_ptr() for value in (*network.parameters(), *network.buffers())}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda value: value)
    with hooks, evaluating(network):
        # Held until it is counted: freed memory would be counted once for all that takes its place.
        passed = network(sample.clone().requires_grad_())
    del passed
    return sum(kept.values())


def _small(features: Tensor) -> Tensor:
    longest = max(features.shape[2:], default=0) if features.ndim == 4 else 0
    most = math.ceil(longest / _MOST_PLACES)
    return functional.avg_pool2d(features, most, ceil_mode=True) if most > 1 else features


def _spaced(layers: list[nn.Module], *, first: bool) -> list[nn.Module]:
    # The last one gives the scores.
    before = layers[:-1]
    places = {math.ceil(len(before) * depth / _DEPTHS) - 1 for depth in range(1, _DEPTHS + 1)}
    if first and before:
        places.add(0)
    return [before[place] for place in sorted(places) if place >= 0]


def _rounded(samples: Tensor) -> Tensor:
    # Rounding has no gradient: the backward pass goes straight through it.
    return samples + ((samples * 255).round() / 255 - samples).detach()
