"""ONNX bytes of many networks of one architecture, most of them without the exporter.

Tracing a network takes a second, and two networks that differ in their weights alone give graphs that differ
there alone. So two are exported, and the others' weights put into the first one's graph; where the two show
that anything but weights differs (batch norms that were folded into convolutions, say), all are exported.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import nn

from obfnet.nets.mode import evaluating

_Weights = Mapping[str, tuple[tuple[int, ...], bytes]]


def exported_alike(modules: Sequence[nn.Module], export: Callable[[nn.Module], bytes]) -> list[bytes]:
    """What `export` gives for each of some modules, byte for byte.

    Args:
        modules: Of one architecture.
        export: Writes one as ONNX, its weights under their names in the module.

    Returns:
        ONNX bytes of each, in order.
    """
    graphs = [export(module) for module in modules[:2]]
    if len(modules) <= len(graphs):
        return graphs
    template = onnx.load_from_string(graphs[0])
    usable = _differ_by_weights(template, onnx.load_from_string(graphs[1]), modules)
    shapes = _shapes(_weights_of(modules[0]))
    for module in modules[2:]:
        weights = _weights_of(module)
        # Of weights that are equal the exporter keeps one, under one of their names.
        if usable and _shapes(weights) == shapes and len(set(weights.values())) == len(weights):
            _put(template, weights)
            graphs.append(template.SerializeToString(deterministic=True))
        else:
            graphs.append(export(module))
    return graphs


def _differ_by_weights(first: Any, second: Any, modules: Sequence[nn.Module]) -> bool:
    """Whether each weight of two modules is in its graph as it is, and all else is the same in both."""
    for model, module in ((first, modules[0]), (second, modules[1])):
        weights = _weights_of(module)
        found = {value.name: value.raw_data for value in model.graph.initializer}
        if any(found.get(name) != data for name, (_, data) in weights.items()):
            return False
    blank = [type(first).FromString(model.SerializeToString()) for model in (first, second)]
    for model in blank:
        _put(model, {name: (shape, b"") for name, (shape, _) in _weights_of(modules[0]).items()})
    same: bool = blank[0] == blank[1]
    return same


def _put(model: Any, weights: _Weights) -> None:
    for value in model.graph.initializer:
        if value.name in weights:
            value.raw_data = weights[value.name][1]


def _shapes(weights: _Weights) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, (shape, _) in weights.items()}


def _weights_of(module: nn.Module) -> _Weights:
    """Shape and little-endian bytes of every parameter and persistent buffer, as they are in use."""
    # As the exporter sees them: some layers round their weights for good when training ends.
    with evaluating(module):
        tensors: Mapping[str, torch.Tensor] = module.state_dict()
    return {
        name: (tuple(tensor.shape), tensor.detach().cpu().contiguous().numpy().tobytes())
        for name, tensor in tensors.items()
    }
