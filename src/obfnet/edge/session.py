"""Runs one bundle's obfuscation network, and hands out nothing that is not an obfuscated sample.

Raw samples are checked before, obfuscated ones after: shape, dtype, range, and that they are no copy of
what went in. Every call is checked, although the bundle was when it was read: a fault on the device must
not send raw data either. Reading and trusting bundles is `bundle`'s.
"""

from typing import Any, Final

import numpy as np
import onnxruntime

from obfnet.bundle import Bundle
from obfnet.core.errors import BundleError, InputError
from obfnet.core.spec import InputSpec, Samples

_AT_ONCE: Final = 64
# Closer to the raw sample than half a grey level of 255 is the raw sample.
_COPY_SHARE: Final = 0.5 / 255


class ObfuscationSession:
    """One loaded obfuscation network.

    Args:
        bundle: A bundle that its reader accepted.

    Raises:
        BundleError: ONNX Runtime does not load its graph (check 'runs').
    """

    def __init__(self, bundle: Bundle) -> None:
        self._spec: InputSpec = bundle.input
        self._name = bundle.manifest.name
        self._dtype = np.dtype(self._spec.dtype)
        # A budget is proved for one sample: others in a batch must not even change how sums are rounded.
        self._has_budget = bundle.manifest.budget_bits is not None
        self._at_once = 1 if self._has_budget else _AT_ONCE
        self._chance = bundle.manifest.chance
        self._copy_distance = (self._spec.high - self._spec.low) * _COPY_SHARE
        options = onnxruntime.SessionOptions()
        # More threads cost more than a network this small gains.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(
                bundle.graph, options, providers=["CPUExecutionProvider"]
            )
            given = self._session.get_inputs()
            self._input = given[0].name
            self._width = 0 if self._chance is None else given[1].shape[1]
            self._outputs = [self._session.get_outputs()[0].name]
        except Exception as exc:
            raise self._refused("runs", "a graph that ONNX Runtime loads", type(exc).__name__) from exc

    def obfuscate(self, raw: Samples, *, rich: bool = True) -> Samples:
        """O(raw), checked.

        Args:
            raw: `(N, *shape)` of the bundle's input spec: its dtype, finite, in its range, N ≥ 1.
            rich: Whether a sample may be sent rich that needs it, where the bundle has two levels.

        Returns:
            The obfuscated samples, of the same shape, dtype and range.

        Raises:
            ShapeError, DtypeError, RangeError: `raw` is not what the spec says.
            BundleError: the network failed (check 'runs'), its output is not of the spec (check
                'outputs'), or a sample came out as it went in (check 'pass-through').

        Does not guarantee: that little can be learnt from the output; the audit measures that.
        """
        if not self._fits(raw):
            self._spec.check(raw, name="raw")
        try:
            obfuscated = self._run(raw, rich=rich)
        except Exception as exc:
            raise self._refused("runs", "a graph that runs on this sample", type(exc).__name__) from exc
        if obfuscated.shape != raw.shape or not self._fits(obfuscated):
            try:
                self._spec.check(obfuscated, name="obfuscated")
            except InputError as exc:
                raise self._refused("outputs", exc.expected, exc.got) from exc
            if obfuscated.shape != raw.shape:
                raise self._refused("outputs", f"{len(raw)} obfuscated samples", str(len(obfuscated)))
        # With a budget what is sent is made of the code alone: whether it is sent must not tell more.
        if not self._has_budget and self._holds_copy(raw, obfuscated):
            raise self._refused("pass-through", "obfuscated samples that differ from the raw ones", "a copy")
        return obfuscated

    def _run(self, raw: Samples, *, rich: bool) -> Samples:
        if len(raw) <= self._at_once:
            return self._run_once(raw, rich=rich)
        # The engine keeps as much memory as its largest batch took.
        size = self._at_once
        parts = [raw[at : at + size] for at in range(0, len(raw), size)]
        return np.concatenate([self._run_once(part, rich=rich) for part in parts])

    def _run_once(self, raw: Samples, *, rich: bool) -> Samples:
        feed = {self._input: raw}
        if self._chance is not None:
            given = self._chance.draw(len(raw), self._width)
            feed[self._chance.name] = given if rich or self._chance.random else np.zeros_like(given)
        obfuscated: Samples = self._session.run(self._outputs, feed)[0]
        return obfuscated

    def _fits(self, samples: Samples) -> bool:
        # NaN makes both comparisons false, so that two reductions do for range and finiteness.
        return (
            samples.dtype == self._dtype
            and samples.shape[1:] == self._spec.shape
            and len(samples) > 0
            and bool(samples.min() >= self._spec.low)
            and bool(samples.max() <= self._spec.high)
        )

    def _holds_copy(self, raw: Samples, obfuscated: Samples) -> bool:
        if self._dtype.kind == "f":
            distance = np.abs(obfuscated - raw).reshape(len(raw), -1).max(axis=1).min()
            return bool(distance <= self._copy_distance)
        return not bool((obfuscated != raw).reshape(len(raw), -1).any(axis=1).all())

    def _refused(self, step: str, expected: str, got: str) -> BundleError:
        return BundleError(
            step, f"{expected} from bundle {self._name!r}", got, "nothing was sent; get a sound pool"
        )
