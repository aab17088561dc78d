"""Divides a user's own samples into training, validation and test, where the user did not.

Splits that were given are kept, groups are never cut, and every class stays in training; where that cannot be
done it is refused with the reason.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, UsageError
from obfnet.data.listing import SPLITS, Listing
from obfnet.data.splits import Indices, hold_out


def assign_splits(
    listing: Listing, *, test_share: float = 0.2, validation_share: float = 0.1, seed: int = 0
) -> dict[str, Indices]:
    """Divides the samples into training, validation and test.

    Splits that the listing gives are kept; a missing one is cut from what is training so far. Where
    groups are given, a group is never cut; otherwise every class has its share, and at least one sample,
    in each split that is cut.

    Args:
        listing: The samples.
        test_share: Of the samples that it is cut from, in (0, 1); unused where the test is given.
        validation_share: Likewise; the two together are below 1.
        seed: Decides which samples, or which groups.

    Returns:
        `"train"`, `"validation"` and `"test"`: ascending indices into `listing.entries`, `(n,)` int64,
        disjoint and together all. Groups come as near to the shares as whole groups do.

    Raises:
        UsageError: a share is out of range.
        DataError: the cut would leave a class without training samples, or a split empty.
    """
    shares = {"test": test_share, "validation": validation_share}
    # So put, NaN is refused too.
    if not (test_share > 0 and validation_share > 0 and test_share + validation_share < 1):
        got = f"{test_share:g} and {validation_share:g}"
        raise UsageError("shares of test and validation above 0, together below 1", got, "correct them")
    split = np.array([SPLITS.index(entry.split or "train") for entry in listing.entries])
    given = {entry.split for entry in listing.entries}
    wanted = {SPLITS.index(name): share for name, share in shares.items() if name not in given}
    pool = np.flatnonzero(split == 0)
    labels = listing.labels[pool]
    if wanted and listing.entries[0].group is not None:
        names = [listing.entries[index].group for index in pool]
        split[pool] = _cut_groups(listing.classes, labels, names, wanted, seed)
    elif wanted:
        split[pool] = _cut_classes(listing.classes, labels, wanted, seed)
    return {name: np.flatnonzero(split == number).astype(np.int64) for number, name in enumerate(SPLITS)}


def _cut_classes(
    classes: Sequence[str], labels: Indices, wanted: dict[int, float], seed: int
) -> npt.NDArray[np.int64]:
    """The split of each sample, cut class by class."""
    split = np.zeros(len(labels), np.int64)
    for label, name in enumerate(classes):
        members = left = np.flatnonzero(labels == label)
        if len(members) <= len(wanted):
            raise DataError(
                f"at least {len(wanted) + 1} samples of class {name!r} to cut from",
                str(len(members)),
                "add some, or leave the class out",
            )
        for done, (number, share) in enumerate(wanted.items(), start=1):
            most = len(left) - (len(wanted) - done) - 1
            count = min(max(1, int(share * len(members) + 0.5)), most)
            kept, held = hold_out(np.zeros(len(left), np.int64), count, seed=seed + label)
            split[left[held]] = number
            left = left[kept]
    return split


def _cut_groups(
    classes: Sequence[str], labels: Indices, groups: Sequence[str | None], wanted: dict[int, float], seed: int
) -> npt.NDArray[np.int64]:
    """The split of each sample, by whole groups; every class stays in training."""
    _, member_of = np.unique(np.array(groups), return_inverse=True)
    sizes = np.zeros((int(member_of.max()) + 1, len(classes)), np.int64)
    np.add.at(sizes, (member_of, labels), 1)
    order = np.random.RandomState(seed).permutation(len(sizes))
    goals = {number: share * sizes.sum(axis=0) for number, share in wanted.items()}
    chosen = _filled(sizes, order, goals, {})
    if not set(wanted) <= set(chosen.tolist()):
        # Few or large groups: each split is first given the one that suits it best, then filled.
        chosen = _filled(sizes, order, goals, _first_groups(sizes, order, goals))
    if not set(wanted) <= set(chosen.tolist()):
        lonely = [classes[int(label)] for label in np.flatnonzero((sizes > 0).sum(axis=0) == 1)]
        raise DataError(
            f"groups enough for {', '.join(SPLITS[number] for number in wanted)} with every class in train",
            f"{len(sizes)} groups" + (f", and class {lonely[0]!r} in one of them only" if lonely else ""),
            "give every class more groups, or a `split` column",
        )
    return chosen[member_of]


def _filled(
    sizes: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    goals: dict[int, npt.NDArray[np.float64]],
    first: dict[int, int],
) -> npt.NDArray[np.int64]:
    """The split of each group: moved out of training wherever that brings a split nearer to its goal."""
    chosen = np.zeros(len(sizes), np.int64)
    left = sizes.sum(axis=0)
    for number, group in first.items():
        chosen[group] = number
        left = left - sizes[group]
    for number, goal in goals.items():
        have = sizes[chosen == number].sum(axis=0)
        for group in order:
            size = sizes[group]
            if chosen[group] or ((left - size == 0) & (size > 0)).any():
                continue
            if _strain(have + size, goal) < _strain(have, goal):
                chosen[group] = number
                have, left = have + size, left - size
    return chosen


def _strain(have: npt.NDArray[np.int64], goal: npt.NDArray[np.float64]) -> float:
    return float((np.square(have - goal) / np.maximum(goal, 1e-9)).sum())


def _first_groups(
    sizes: npt.NDArray[np.int64], order: npt.NDArray[np.int64], goals: dict[int, npt.NDArray[np.float64]]
) -> dict[int, int]:
    """One group for each split, the best-suited that can leave training together; else nothing."""
    everything = sizes.sum(axis=0)

    def leaves_all(*groups: int) -> bool:
        rest = everything - sizes[list(groups)].sum(axis=0)
        return bool((rest[everything > 0] > 0).all())

    free = [int(group) for group in order if leaves_all(int(group))]
    numbers = list(goals)
    ranked = {number: sorted(free, key=lambda at: _strain(sizes[at], goals[number])) for number in numbers}
    if len(numbers) == 1:
        return {numbers[0]: ranked[numbers[0]][0]} if free else {}
    pairs = ((one, two) for one in ranked[numbers[0]] for two in ranked[numbers[1]] if one != two)
    pair = next((pair for pair in pairs if leaves_all(*pair)), None)
    return dict(zip(numbers, pair, strict=True)) if pair else {}
