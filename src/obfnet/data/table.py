"""Samples of a case before and after they are split: the whole table, and three disjoint parts of it.

How a case is cut is a rule with a name, so that a figure can say which; several rules may be known for one
case, since a random cut over near-duplicates flatters every model. Reading and decoding are left to `cases`.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import DataError, UsageError
from obfnet.data.rows import AnyRows, Indices, Rows, taken
from obfnet.data.splits import hold_out

Labels = npt.NDArray[np.int64]
TRAIN: Final = "train"
TEST: Final = "test"
VALIDATION: Final = "validation"


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """All samples of a case.

    Args:
        samples: `(N, *shape)` of the case's dtype and range.
        labels: `(N,)` int64, indices into the case's classes.
        part: `(N,)` text: which part a sample was published in, `"train"`, `"validation"` or `"test"`.
        attribute: `(N,)` int64, index of the private attribute's value (who speaks); None without one.
        group: `(N,)` int64: samples of one class and group are near-duplicates (frames of one scene); None
            where every sample stands for itself.
        names: `(N,)` text: what each sample's file is called; None where samples have no files of their own.
    """

    samples: AnyRows
    labels: Labels
    part: npt.NDArray[np.str_]
    attribute: Labels | None = None
    group: Labels | None = None
    names: npt.NDArray[np.str_] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Samples with their labels, read-only.

    Args:
        samples: `(N, *shape)` of the case's dtype and range; an array, or rows that are read when needed.
        labels: `(N,)` int64, indices into the case's classes.
        attribute: `(N,)` int64, or None where the case has no private attribute.
        names: `(N,)` text, or None where samples have no files of their own.

    Raises:
        DataError: they differ in length, or there are none.
    """

    samples: AnyRows
    labels: Labels
    attribute: Labels | None = None
    names: npt.NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        columns = (self.samples, self.labels, self.attribute, self.names)
        if len({len(column) for column in columns if column is not None}) != 1 or len(self.labels) == 0:
            got = f"{len(self.samples)} samples, {len(self.labels)} labels"
            raise DataError("a label for each of at least one sample", got, "give the files of one data set")
        for name in ("samples", "labels", "attribute"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Rows):
                view = value.view()
                view.setflags(write=False)
                object.__setattr__(self, name, view)

    def take(self, index: Indices) -> "Split":
        """The samples of these indices."""
        attribute = None if self.attribute is None else self.attribute[index]
        names = None if self.names is None else self.names[index]
        return Split(
            samples=taken(self.samples, index), labels=self.labels[index], attribute=attribute, names=names
        )


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """A way to cut a table into training, validation and test samples.

    Args:
        name: As on the command line.
        about: What it measures, in words, for reports.
        test: `"part"`: what was published as test; `"random"`: a stratified share of what was published
            for training; `"random-of-all"`: of everything; `"attribute"`: every sample of one
            value of the attribute, named after a colon (`speaker:theo`).
        test_share: Share of the test samples where they are drawn at random, in (0, 1).
        validation: Number of validation samples (int) or share of the rest (float).
        validation_by_group: Validation takes whole groups of each class, so that no near-duplicate is in
            training.
        test_seed: Of the random draw of test samples.
        validation_seed: Of the random draw of validation samples.
    """

    name: str
    about: str
    test: str = "part"
    test_share: float = 0.1
    validation: int | float = 0.1
    validation_by_group: bool = False
    test_seed: int = 1998
    validation_seed: int = 1998


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Indices into a table, ascending and disjoint."""

    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A private attribute of the samples, which a backend may try to recognise.

    Args:
        name: What it is, in the singular (`speaker`).
        values: Its values' names; value i of a table is `values[i]`.
    """

    name: str
    values: tuple[str, ...] = field(default=())


def cut(table: Table, rule: SplitRule, *, value: int | None = None) -> Cut:
    """Applies a rule.

    Args:
        table: What to cut.
        rule: How.
        value: For a rule on the attribute: the value whose samples are the test.

    Returns:
        Three disjoint parts; samples that were published for testing are in none of them where the rule
        draws its test from the training part.

    Raises:
        DataError: a part would be empty.
        UsageError: the rule needs a value, or cannot be met.
    """
    everything = np.arange(len(table.labels), dtype=np.int64)
    if rule.test == "part":
        test, rest = everything[table.part == TEST], everything[table.part != TEST]
    elif rule.test == "attribute":
        if value is None or table.attribute is None:
            raise UsageError(f"a value for split {rule.name!r}", "none", f"give it as {rule.name}:VALUE")
        test, rest = everything[table.attribute == value], everything[table.attribute != value]
    else:
        pool = everything if rule.test == "random-of-all" else everything[table.part == TRAIN]
        _, held = hold_out(table.labels[pool], round(rule.test_share * len(pool)), seed=rule.test_seed)
        test, pool = (
            pool[held],
            everything if rule.test == "random-of-all" else everything[table.part != TEST],
        )
        rest = np.setdiff1d(pool, test)
    if len(test) == 0 or len(rest) < 2:
        raise DataError(
            f"samples to test and to train for split {rule.name!r}", "none of one kind", "use another split"
        )
    train, validation = _validation(table, rest, rule)
    if len(train) == 0 or len(validation) == 0:
        raise DataError(
            f"samples to train and to choose by for split {rule.name!r}",
            "none of one kind",
            "use another split",
        )
    return Cut(train=train, validation=validation, test=test)


def _validation(table: Table, rest: Indices, rule: SplitRule) -> tuple[Indices, Indices]:
    given = rest[table.part[rest] == VALIDATION]
    if len(given):
        return np.setdiff1d(rest, given), given
    wanted = (
        rule.validation if isinstance(rule.validation, int) else max(1, round(rule.validation * len(rest)))
    )
    if not rule.validation_by_group or table.group is None:
        kept, held = hold_out(table.labels[rest], wanted, seed=rule.validation_seed)
        return rest[kept], rest[held]
    # The last groups of each class: how well a choice fares on frames that it has not nearly seen. A class
    # of one group stays in training, or nobody would learn it.
    held_out = np.zeros(len(rest), bool)
    for label in np.unique(table.labels[rest]):
        own = np.flatnonzero(table.labels[rest] == label)
        groups = np.unique(table.group[rest[own]])
        count = min(len(groups) - 1, max(1, round(len(groups) * wanted / len(rest))))
        last = groups[len(groups) - count :]
        held_out[own[np.isin(table.group[rest[own]], last)]] = True
    return rest[~held_out], rest[held_out]
