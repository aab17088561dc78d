"""Obfuscates where bundles have two levels: rich where a sample needs it and the device's count allows it.

Which of the two a request is shows in what is sent, and is counted with it (`guarantees.nested_levels`).
"""

from collections.abc import Sequence

import numpy as np

from obfnet.bundle import Manifest
from obfnet.core.spec import Samples
from obfnet.edge.meter import BudgetMeter
from obfnet.edge.session import ObfuscationSession
from obfnet.guarantees.nested_levels import poor_cost, rich_cost


def obfuscate_graded(
    samples: Samples,
    sessions: Sequence[tuple[ObfuscationSession, Manifest]],
    meter: BudgetMeter,
    *,
    pick_bits: float = 0.0,
) -> Samples:
    """Obfuscates sample by sample, each counted before it is touched.

    Args:
        samples: `(N, *shape)`, as the bundles take them.
        sessions: For each sample the bundle that it goes through, loaded, and its manifest.
        meter: Counts bits, requests and rich requests.
        pick_bits: What the choice of the bundle tells of a sample.

    Returns:
        `(N, *shape)`. A sample that needs to be rich and may not be is sent poor.

    Raises:
        BudgetSpentError, DataError, OutputError: as `BudgetMeter.spend`.
        BundleError: as `ObfuscationSession.obfuscate`. What was counted until then stays counted.
    """
    return np.concatenate(
        [
            _one(samples[at : at + 1], session, manifest, meter, pick_bits)
            for at, (session, manifest) in enumerate(sessions)
        ]
    )


def _one(
    sample: Samples, session: ObfuscationSession, manifest: Manifest, meter: BudgetMeter, pick_bits: float
) -> Samples:
    bits, share, poor_bits = manifest.budget_bits or 0.0, manifest.rich_share, manifest.poor_bits
    if share is None or poor_bits is None:
        meter.spend(bits + pick_bits)
        return session.obfuscate(sample)
    rich = rich_cost(bits, share)
    may_be_rich = meter.spend_one_of_two(
        poor_bits=poor_cost(poor_bits, share, permitted=False) + pick_bits,
        rich_bits=rich + pick_bits,
        share=share,
    )
    poor = session.obfuscate(sample, rich=False)
    if not may_be_rich:
        return poor
    sent = session.obfuscate(sample)
    if np.array_equal(sent, poor):
        meter.give_back(rich - poor_cost(poor_bits, share, permitted=True))
    return sent
