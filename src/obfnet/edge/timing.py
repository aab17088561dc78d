"""What one obfuscation costs a device, beside a bare call of the runtime on the same network."""

import time
from typing import Final

import numpy as np
import onnxruntime

from obfnet.bundle import Bundle
from obfnet.bundle.chance import no_chance
from obfnet.core.spec import Samples
from obfnet.edge.session import ObfuscationSession

_CALLS: Final = 400


def time_obfuscation(bundle: Bundle, raw: Samples, *, calls: int = _CALLS) -> dict[str, float]:
    """Times checked obfuscation and the bare runtime in turn, so that a drift of speed falls on both.

    Args:
        bundle: Whose network runs, on one thread.
        raw: What is obfuscated in each call, `(N, *shape)`; a device's request is N = 1.
        calls: Of each kind, ≥ 1.

    Returns:
        Medians in microseconds: `obfuscate_us` and `bare_us`.
    """
    session = ObfuscationSession(bundle)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    bare = onnxruntime.InferenceSession(bundle.graph, options, providers=["CPUExecutionProvider"])
    feed = {bare.get_inputs()[0].name: raw, **no_chance(bare, len(raw))}
    spent: dict[str, list[float]] = {"obfuscate_us": [], "bare_us": []}
    for _ in range(calls):
        begun = time.perf_counter()
        bare.run(None, feed)
        between = time.perf_counter()
        session.obfuscate(raw)
        spent["bare_us"].append(between - begun)
        spent["obfuscate_us"].append(time.perf_counter() - between)
    return {name: float(np.median(seconds)) * 1e6 for name, seconds in spent.items()}
