"""Finds out from a model's answers whether its outputs stand for the classes in another order than was said.

A model whose labels are permuted in part is still right more often than chance, and would be protected for
the wrong answers. How much another order would explain tells it from one that is merely weak.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Labels = npt.NDArray[np.int64]
# Of a gain, in standard errors: the other order is the best of all, and so looks a little better by chance.
_STANDARD_ERRORS: Final = 4.0


def best_order(answers: Labels, labels: Labels, classes: int) -> Labels:
    """For each output of a model the class that makes most answers right; of equal orders the given one.

    Args:
        answers: `(N,)`, the output of the highest score.
        labels: `(N,)`, the true classes.
        classes: How many there are, K.

    Returns:
        `(K,)`, a permutation.

    Example:
        >>> best_order(np.array([1, 1, 0, 2]), np.array([0, 0, 1, 2]), 4).tolist()
        [1, 0, 2, 3]
    """
    counts = np.zeros((classes, classes))
    np.add.at(counts, (answers, labels), 1)
    # All these shares together are less than one sample.
    return np.asarray(linear_sum_assignment(counts + np.eye(classes) / (2 * classes), maximize=True)[1])


def is_clearly_better(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> bool:
    """Whether an order is right so much more often that the model must have been made for it.

    Args:
        before: `(N,)`, whether each answer is right in the order that was said.
        after: `(N,)`, whether it is in the other one.

    Returns:
        Whether errors are at most half as many, and the gain is above four standard errors of the paired
        difference.

    Example:
        >>> few, many = np.arange(100) < 60, np.arange(100) < 98
        >>> is_clearly_better(few, many), is_clearly_better(many, many)
        (True, False)
    """
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    halved = 2 * int((~after).sum()) <= int((~before).sum())
    return halved and gained - lost > _STANDARD_ERRORS * math.sqrt(gained + lost)
