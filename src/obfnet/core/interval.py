"""The interval of a share: how far what was counted on some samples may be from what holds for all."""

from typing import Final

Z95: Final = 1.959964
"""Standard deviations to either side of the middle that hold 95 % of a normal distribution."""


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share.

    Args:
        share: In [0, 1].
        count: Of how many, ≥ 1.

    Source: Wilson 1927, *Probable inference, the law of succession, and statistical inference*.

    Example:
        >>> [round(end, 3) for end in wilson(1.0, 100)], [round(end, 3) for end in wilson(0.5, 100)]
        ([0.963, 1.0], [0.404, 0.596])
    """
    spread = Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = (spread * share * (1 - share) + spread**2 / 4) ** 0.5 / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
