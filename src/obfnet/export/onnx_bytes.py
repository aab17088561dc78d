"""ONNX bytes of a torch network, with a free batch axis and nothing of the machine that made them.

The wire type is decided here: the networks themselves work on float samples in [0, 1], and where
the backend takes uint8 the exported graph converts at its ends. The same network gives the same
bytes, so that a bundle is reproducible and an inference network's id is stable.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any, Final, final

import numpy as np
import onnx
import onnx.inliner
import torch
from torch import Tensor, nn

from obfnet.bundle.chance import Chance
from obfnet.core.spec import InputSpec
from obfnet.export.onnx_alike import exported_alike
from obfnet.export.wire import WireEnds
from obfnet.nets.mode import evaluating

INPUT_NAME: Final = "input"
SCORES_NAME: Final = "scores"
OBFUSCATED_NAME: Final = "obfuscated"
_OPSET: Final = 20


def inference_onnx(network: nn.Module, spec: InputSpec) -> bytes:
    """The inference network as the backend serves it: samples in, class probabilities out.

    Args:
        network: Maps `(N, C, H, W)` float32 in [0, 1] to `(N, classes)` unnormalised scores.
        spec: The wire's input: its dtype may be uint8, which the graph divides by 255.

    Returns:
        ONNX model with input `input` and output `scores`, `(N, classes)` float32, rows summing to 1.
    """
    return _export(_Served(network, spec), spec, SCORES_NAME)


def obfuscation_onnx(
    network: nn.Module,
    spec: InputSpec,
    *,
    chance: Chance | None = None,
    width: int = 0,
    exact: bool = False,
) -> bytes:
    """The obfuscation network as a device runs it: a sample in, a sample of the same spec out.

    Args:
        network: Maps `(N, C, H, W)` float32 in [0, 1] to the same.
        spec: The wire's input. The graph's ends convert from it and to it: integers, another range, a
            normalisation, channels last.
        chance: What the network is given as a second argument; None for a network of one.
        width: Of that, for one sample.
        exact: Whether the way back to the wire must not round, as a budget needs it (`bundle.exact`): unless
            the wire is float32 in [0, 1] or uint8 a value is then one of 257 levels.

    Returns:
        ONNX model with input `input`, perhaps one of chance's name, `(N, width)`, and output `obfuscated`.
    """
    return pool_onnx([network], spec, chance=chance, width=width, exact=exact)[0]


def pool_onnx(
    networks: Sequence[nn.Module],
    spec: InputSpec,
    *,
    chance: Chance | None = None,
    width: int = 0,
    exact: bool = False,
) -> list[bytes]:
    """Obfuscation networks of one architecture as devices run them, faster than one by one.

    Args:
        networks: Each as for `obfuscation_onnx`.
        spec: Likewise.
        chance: Likewise.
        width: Likewise.
        exact: Likewise.

    Returns:
        What `obfuscation_onnx` gives for each.
    """
    export = partial(_export, spec=spec, output=OBFUSCATED_NAME, chance=chance, width=width)
    return exported_alike([_OnDevice(network, spec, exact=exact) for network in networks], export)


@final
class _Served(nn.Module):
    def __init__(self, network: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.network, self.ends = network, WireEnds(spec)

    def forward(self, samples: Tensor) -> Tensor:
        scores: Tensor = self.network(self.ends.as_unit(samples))
        return scores.softmax(dim=1)


@final
class _OnDevice(nn.Module):
    def __init__(self, network: nn.Module, spec: InputSpec, *, exact: bool) -> None:
        super().__init__()
        self.network, self.ends = network, WireEnds(spec, exact=exact)

    def forward(self, raw: Tensor, drawn: Tensor | None = None) -> Tensor:
        unit = self.ends.as_unit(raw)
        obfuscated: Tensor = self.network(unit) if drawn is None else self.network(unit, drawn)
        return self.ends.as_wire(obfuscated)


def _export(
    module: nn.Module, spec: InputSpec, output: str, *, chance: Chance | None = None, width: int = 0
) -> bytes:
    given = {INPUT_NAME: torch.zeros(2, *spec.shape, dtype=getattr(torch, spec.dtype))}
    if chance is not None:
        given[chance.name] = torch.from_numpy(np.zeros_like(chance.draw(2, width)))
    count = torch.export.Dim("N", min=1)
    with _quiet(), evaluating(module):
        program: Any = torch.onnx.export(
            module,
            tuple(given.values()),
            dynamo=True,
            input_names=list(given),
            output_names=[output],
            dynamic_shapes=tuple({0: count} for _ in given),
            opset_version=_OPSET,
            external_data=False,
            verbose=False,
        )
    return _stripped(program.model_proto)


def _stripped(model: Any) -> bytes:
    # The exporter notes source lines and paths beside every node; a published file must not hold them.
    model.doc_string = ""
    model.producer_name, model.producer_version = "obfnet", ""
    model.graph.name, model.graph.doc_string = "network", ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    if model.functions:
        model.CopyFrom(onnx.inliner.inline_local_functions(model))
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    buffer = BytesIO()
    buffer.write(model.SerializeToString(deterministic=True))
    return buffer.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter reports its own deprecations and progress; none of it concerns a user of ours.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
