"""Whether a budget survives floating point: the same samples by a device, in batches, and by another engine.

The sums before the code are rounded differently by each, and a sign may then flip; behind it nothing is.
What a device sends is what the budget was proved for, since it runs one sample at a time.
"""

from typing import Final

import numpy as np
import torch

from obfnet.attacks.known_network import KnownNetwork
from obfnet.bundle import Bundle
from obfnet.core.spec import Samples, as_unit
from obfnet.data.rows import AnyRows, batches
from obfnet.edge import ObfuscationSession

_AT_ONCE: Final = 256


def measure_parity(bundle: Bundle, samples: AnyRows) -> dict[str, int]:
    """Counts samples that come out with other bytes than on a device.

    Args:
        bundle: One with a budget.
        samples: `(N, *shape)` as the wire has them.

    Returns:
        `samples`: N; `in_batches`: of them those that differ when the same runtime is given batches of 256;
        `torch`: those that differ when torch runs the graph, in such batches; `outputs`: how many different
        ones the device gave.
    """
    # With leave where there are two levels, as the session.
    session, known = ObfuscationSession(bundle), KnownNetwork.of(bundle)
    module = known.differentiable().eval()
    found = {"samples": 0, "in_batches": 0, "torch": 0}
    outputs: set[bytes] = set()
    for raw in batches(samples, _AT_ONCE):
        sent, unit = as_unit(session.obfuscate(raw)), as_unit(raw)
        with torch.no_grad():
            by_torch = module(torch.from_numpy(np.ascontiguousarray(unit))).numpy()
        found["samples"] += len(raw)
        found["in_batches"] += _differing(sent, known.obfuscate(unit))
        found["torch"] += _differing(sent, by_torch)
        outputs |= {sample.tobytes() for sample in sent}
    return {**found, "outputs": len(outputs)}


def _differing(sent: Samples, other: Samples) -> int:
    return int((sent != other).reshape(len(sent), -1).any(axis=1).sum())
