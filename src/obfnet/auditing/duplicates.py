"""The same sample twice: names samples by their content, so that none is on both sides of a cut.

An attacker that has seen a sample it is scored on remembers it, and the figure says nothing. Near-duplicates
(two frames of one scene) are not found here: cutting by group is the data's.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from obfnet.core.spec import Samples, as_unit
from obfnet.data.rows import AnyRows, batches

Names = npt.NDArray[np.uint64]


def names_of(samples: Samples) -> Names:
    """A number for each sample, the same for the same values in the same dtype.

    Args:
        samples: `(M, ...)`, M ≥ 0.

    Returns:
        `(M,)` uint64. Two different ones share a number with a chance of 2^-64.

    Example:
        >>> first, second, third = names_of(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]]))
        >>> first == second, first == third
        (np.True_, np.False_)
    """
    # Minus zero is zero.
    rows = np.ascontiguousarray(samples + 0 if samples.dtype.kind == "f" else samples)
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(b"".join(digests), np.dtype("<u8")).astype(np.uint64)


def names_of_rows(rows: AnyRows) -> Names:
    """`names_of` for any number of samples, as attackers see them.

    Args:
        rows: `(N, ...)` in [0, 1] or uint8.

    Returns:
        `(N,)` uint64.
    """
    return np.concatenate([np.empty(0, np.uint64), *(names_of(as_unit(some)) for some in batches(rows))])


def surplus(names: Names) -> int:
    """How many samples are the copy of another one.

    Example:
        >>> surplus(np.array([3, 1, 3, 3], np.uint64))
        2
    """
    return len(names) - len(np.unique(names))
