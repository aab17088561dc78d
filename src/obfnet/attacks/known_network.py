"""An obfuscation network whose ONNX file an attacker holds, as attacks want it: exact, and with gradients.

The exact answers are ONNX Runtime's, the very engine of a device; the gradients are `graph`'s. Reading and
trusting a bundle is somebody else's.
"""

from functools import partial
from typing import Any, Final, Self, final

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor, nn

from obfnet.attacks.graph import OnnxGraph
from obfnet.attacks.knowledge import Samples
from obfnet.attacks.straight_through import straight_through
from obfnet.bundle import Bundle
from obfnet.bundle.chance import Chance, Drawn, Leave, no_chance
from obfnet.core.errors import AttackError
from obfnet.core.spec import InputSpec, as_unit
from obfnet.data.rows import AnyRows, Rows, batches, mapped
from obfnet.export.wire import WireEnds
from obfnet.guarantees.nested_levels import may_be_rich

_AT_ONCE: Final = 256
_LEVELS: Final = 255.0


@final
class KnownNetwork:
    """An obfuscation network from its ONNX file; an `Obfuscator`.

    Whatever the graph takes and gives, samples in and out are float32 in [0, 1].

    Args:
        data: The file's bytes, `(N, ...)` in and `(N, ...)` out.
        chance: What is drawn anew for every sample, as a device does; None draws nothing.
        wire: What the graph takes and gives, which may be normalised or have channels last; None is float32
            in [0, 1] or uint8, as the graph says.

    Raises:
        AttackError: ONNX Runtime does not load them.
    """

    def __init__(self, data: bytes, *, chance: Chance | None = None, wire: InputSpec | None = None) -> None:
        self._data, self._chance = data, chance
        # The two plain wires need nothing but the graph.
        plain = wire is None or wire.is_unit or (wire.dtype == "uint8" and wire.shape == wire.unit_shape)
        self._wire = None if plain else wire
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
            given, *drawn = self._session.get_inputs()
        except Exception as exc:
            raise AttackError(
                "a graph that ONNX Runtime loads", type(exc).__name__, "export it again"
            ) from exc
        self._name, self._integer = given.name, given.type == "tensor(uint8)"
        self._width = drawn[0].shape[1] if drawn else 0

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """The network of a bundle that its reader accepted.

        Args:
            bundle: The bundle.

        Raises:
            AttackError: ONNX Runtime does not load its graph.
        """
        return cls(bundle.graph, chance=bundle.manifest.chance, wire=bundle.input)

    def __reduce__(self) -> tuple[Any, ...]:
        # A session does not go to another process: what it is made of does.
        return partial(type(self), chance=self._chance, wire=self._wire), (self._data,)

    def obfuscate(self, raw: Samples) -> Samples:
        """What the backend would receive.

        Args:
            raw: `(N, *raw_shape)` float32 in [0, 1]; for a graph of uint8 the nearest level is taken.

        Returns:
            `(N, *shape)` float32 in [0, 1].

        Raises:
            AttackError: the graph does not run on samples of this shape.
        """
        return self._obfuscated(raw)

    def in_turn(self, raw: AnyRows) -> Rows:
        """What the backend receives of one device that these samples come to, one after the other.

        Of two levels `obfuscate` shows the rich one for every sample that is unsure; a device keeps to its
        share of rich requests, as here. Samples come in an order that is drawn at random, always the same, so
        that it does not matter how they are sorted.

        Args:
            raw: `(N, *raw_shape)` float32 in [0, 1].

        Returns:
            `(N, *shape)` float32 in [0, 1], made when they are read; lots are drawn anew each time.

        Raises:
            AttackError: as `obfuscate`.
        """
        if not isinstance(self._chance, Leave):
            return mapped(raw, self.obfuscate)
        leave = np.zeros((len(raw), self._width), np.bool_)
        unsure = [self._unsure(part) for part in batches(raw)]
        needed, rich = np.concatenate([np.zeros(0, np.bool_), *unsure]), 0
        for requests, at in enumerate(np.random.default_rng(0).permutation(len(raw))):
            if needed[at] and may_be_rich(self._chance.share, requests=requests, rich=rich):
                leave[at], rich = True, rich + 1
        shape = self.obfuscate(raw[:1]).shape[1:]
        return Rows(lambda index: self._obfuscated(raw[index], leave[index]), (len(raw), *shape), np.float32)

    def sent_once(self, raw: AnyRows) -> AnyRows:
        """As `in_turn`, of one sending: where lots are drawn they are drawn now, for whoever looks at it."""
        rows = self.in_turn(raw)
        return rows[:] if self._chance is not None and self._chance.random else rows

    def _unsure(self, raw: Samples) -> npt.NDArray[np.bool_]:
        rich, poor = (
            self._obfuscated(raw, np.full((len(raw), self._width), leave)) for leave in (True, False)
        )
        differing: npt.NDArray[np.bool_] = (rich != poor).reshape(len(raw), -1).any(axis=1)
        return differing

    def _obfuscated(self, raw: Samples, drawn: Drawn | None = None) -> Samples:
        given = self._sent(raw)
        try:
            # An empty batch is run too: it says what shape comes out.
            parts = [
                self._seen(self._session.run(None, self._feed(given[part], drawn, part))[0])
                for part in (slice(at, at + _AT_ONCE) for at in range(0, max(1, len(given)), _AT_ONCE))
            ]
        except Exception as exc:
            raise AttackError(
                "samples that the graph runs on", f"{type(exc).__name__} on {raw.shape}", "give its own shape"
            ) from exc
        return np.concatenate(parts)

    def _sent(self, raw: Samples) -> Samples:
        if self._wire is not None:
            return self._wire.to_wire(raw)
        return np.rint(raw * _LEVELS).astype(np.uint8) if self._integer else as_unit(raw)

    def _seen(self, obfuscated: Samples) -> Samples:
        return as_unit(obfuscated) if self._wire is None else self._wire.from_wire(obfuscated)

    def _feed(self, given: Samples, drawn: Drawn | None, part: slice) -> dict[str, Any]:
        if self._chance is None:
            return {self._name: given, **no_chance(self._session, len(given))}
        lots = self._chance.draw(len(given), self._width) if drawn is None else drawn[part]
        return {self._name: given, self._chance.name: lots}

    def differentiable(self) -> nn.Module:
        """The same function as a torch module with gradients, `(N, ...)` float32 in [0, 1] to the same.

        Raises:
            AttackError: an operator of the graph is not known; the message names it.

        Source: Athalye, Carlini and Wagner 2018, *Obfuscated gradients give a false sense of security*,
            section 4.1: rounding, signs and choices go straight through backward.
        """
        graph = OnnxGraph(self._data)
        return _OnUnit(graph) if self._wire is None else _OnWire(graph, self._wire)


@final
class _OnUnit(nn.Module):
    def __init__(self, graph: OnnxGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, raw: Tensor) -> Tensor:
        if self.graph.input_dtype == "uint8":
            levels = raw * _LEVELS
            raw = straight_through(torch.round(levels), levels)
        result: Tensor = self.graph(raw)
        return result / _LEVELS if self.graph.output_dtype == "uint8" else result


@final
class _OnWire(nn.Module):
    def __init__(self, graph: OnnxGraph, wire: InputSpec) -> None:
        super().__init__()
        self.graph, self.ends = graph, WireEnds(wire)

    def forward(self, raw: Tensor) -> Tensor:
        sent: Tensor = self.graph(self.ends.as_wire(raw, straight=True))
        # A graph's integers come as float32, in their own unit.
        return self.ends.as_unit(sent)
