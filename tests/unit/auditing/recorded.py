"""Small recorded pairs: blurred squares of eight labels, obfuscated by a mixing of pixels."""

from typing import Any

import numpy as np

Arrays = dict[str, Any]


def recorded(count: int = 400, *, seed: int = 0, side: int = 8) -> Arrays:
    """Pairs as somebody would save them: every pixel of the obfuscated side mixes all raw ones."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 8, count)
    raw = np.zeros((count, 1, side, side), np.float32)
    for picture, own in zip(raw, label, strict=True):
        top, left = own % 4, own // 4
        picture[0, top : top + 4, left : left + 4] = random.uniform(0.5, 1.0, (4, 4))
    raw += random.uniform(0, 0.2, raw.shape).astype(np.float32)
    raw = raw.clip(0, 1)
    mixing = np.random.default_rng(1).standard_normal((side * side, side * side)) / side
    mixed = 1 / (1 + np.exp(-(raw.reshape(count, side * side) @ mixing)))
    return {"raw": raw, "obfuscated": mixed.reshape(raw.shape).astype(np.float32), "label": label}
