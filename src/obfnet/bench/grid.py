"""Which cells the paper's grid has: case, split, inference network, obfuscation network, width and seeds.

Pure data, with the selection of a part of it; what is done with a cell is `cell`'s, in what order `paper`'s.
Nothing in here knows torch, so that a wrong name on the command line is found out at once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from obfnet.core.errors import UnknownNameError, UsageError
from obfnet.data.fsd import SPEAKERS

_SPAN: Final = re.compile(r"(\d+)(?:(\.\.)(\d*))?")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table: a cell for each of its seeds.

    Args:
        case: Data set.
        split: Name of the split rule, with its value where it has one (`speaker:theo`).
        inference: The case's name of the inference network's architecture.
        obfuscation: The case's name of the obfuscation network's architecture.
        hidden: Width of its bottleneck; None takes the architecture's own.
        seeds: Of everything that is trained for a cell; added to the grid's seed.
        share: Of the epochs of the case's recipe, in (0, 1].
        obfuscation_share: Of the epochs that O then has, in (0, 1]; the other networks keep theirs.
        attack_share: Of the passes of the demo's decoder and attribute probe, in (0, 1].
        tenth: Whether a device-only classifier at a tenth of O's cost is measured too.
        protection: How O is limited.
        bits: Budget of a request, for a protection that has one.
        epsilon: Of a request, for a protection that inverts bits.
        noise: Standard deviation, for a protection that adds any.
        rich_share: Of requests that may tell more, for a protection with two levels.

    Raises:
        UsageError: a share is out of its range, or there is no seed.
    """

    case: str
    split: str = "official"
    inference: str
    obfuscation: str
    hidden: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    share: float = 1.0
    obfuscation_share: float = 1.0
    attack_share: float = 1.0
    tenth: bool = False
    protection: str = "published"
    bits: int | None = None
    epsilon: float | None = None
    noise: float | None = None
    rich_share: float | None = None

    def __post_init__(self) -> None:
        shares = (self.share, self.obfuscation_share, self.attack_share)
        if not (all(0 < share <= 1 for share in shares) and self.seeds):
            raise UsageError("shares in (0, 1] and a seed", f"{shares}, {self.seeds}", "change it")

    @property
    def name(self) -> str:
        """By which a result file knows the row.

        Example:
            >>> Row(case="mnist", inference="cnn", obfuscation="mlp", hidden=8).name
            'mnist/official/cnn/mlp(8)'
            >>> Row(case="fsd", inference="cnn", obfuscation="cnn", protection="coded", bits=8).name
            'fsd/official/cnn/cnn, coded 8'
            >>> limits = {"protection": "randomised", "bits": 8, "epsilon": 16.0}
            >>> Row(case="fsd", inference="cnn", obfuscation="cnn", **limits).name
            'fsd/official/cnn/cnn, randomised 8 epsilon 16'
        """
        width = "" if self.hidden is None else f"({self.hidden})"
        limits = [self.protection, self.bits]
        for name in ("epsilon", "noise", "rich_share"):
            limits += [] if getattr(self, name) is None else [f"{name.split('_')[0]} {getattr(self, name):g}"]
        limited = "" if self.protection == "published" else ", " + " ".join(str(one) for one in limits if one)
        return f"{self.case}/{self.split}/{self.inference}/{self.obfuscation}{width}{limited}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row with one seed: what is trained and measured in one go.

    Args:
        row: The row.
        seed: Of everything that is trained.
    """

    row: Row
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.row.name}, seed {self.seed}"


_WIDTHS: Final = (8, 16, 32, 64, 100, 128, 256, 512)
_DIGITS: Final = tuple(
    Row(case="mnist", inference=inference, obfuscation=obfuscation, hidden=hidden)
    for inference in ("cnn", "mlp")
    for obfuscation in ("mlp", "cnn")
    for hidden in _WIDTHS
)
_SPEECH: Final = (
    *(
        Row(case="fsd", split=split, inference=inference, obfuscation=obfuscation)
        for split in ("official", "random")
        for inference in ("cnn", "mlp")
        for obfuscation in ("mlp", "cnn")
    ),
    *(Row(case="fsd", split=f"speaker:{who}", inference="cnn", obfuscation="mlp") for who in SPEAKERS),
)
_SCENE: Final = Row(case="asl", split="scene", inference="compact", obfuscation="conv")
_NEAR: Final = replace(_SCENE, split="random")
_CIFAR10: Final = Row(case="cifar10", inference="residual", obfuscation="conv", tenth=True)
# An epoch through a network for photographs takes minutes. What the case recommends is trained to the end,
# and so is the paper's O_M on other scenes; the rest for half, which the table says.
_SIGNS: Final = (
    _SCENE,
    replace(_SCENE, obfuscation="mlp", hidden=100),
    _NEAR,
    replace(_NEAR, obfuscation="mlp", hidden=100, obfuscation_share=0.5),
)
_PHOTOGRAPHS: Final = (
    _CIFAR10,
    replace(_CIFAR10, obfuscation="mlp", hidden=100, obfuscation_share=0.5),
    replace(_CIFAR10, obfuscation="cnn", hidden=100, obfuscation_share=0.5),
)

FULL: Final[tuple[Row, ...]] = (*_DIGITS, *_SPEECH, *_SIGNS, *_PHOTOGRAPHS)
"""The paper's grid, three seeds each, trained as the cases' recipes say; some photographs more briefly."""


def _quick(
    case: str,
    inference: str,
    obfuscation: str,
    hidden: int | None = None,
    *,
    split: str = "official",
    share: float,
    attack_share: float,
) -> Row:
    return Row(
        case=case,
        split=split,
        inference=inference,
        obfuscation=obfuscation,
        hidden=hidden,
        seeds=(0,),
        share=share,
        attack_share=attack_share,
        tenth=case == "cifar10",
    )


# The shares are chosen for a quarter of an hour on two cores in all, the attack's being most of it on signs.
QUICK: Final[tuple[Row, ...]] = (
    _quick("mnist", "cnn", "mlp", 100, share=0.2, attack_share=0.25),
    _quick("mnist", "cnn", "cnn", 100, share=0.2, attack_share=0.25),
    _quick("mnist", "mlp", "mlp", 100, share=0.2, attack_share=0.25),
    _quick("fsd", "cnn", "mlp", share=0.3, attack_share=0.25),
    _quick("fsd", "cnn", "cnn", share=0.3, attack_share=0.25),
    _quick("fsd", "cnn", "mlp", split="random", share=0.3, attack_share=0.25),
    _quick("asl", "compact", "conv", split="scene", share=0.12, attack_share=0.2),
    _quick("cifar10", "compact", "conv", 8, share=0.2, attack_share=0.2),
)
"""All four cases, few rows, one seed, trained less: its figures are worse, and each row says by how much."""

GRIDS: Final = {"full": FULL, "quick": QUICK}


def cells(rows: Sequence[Row], *, seed: int = 0, most: int | None = None) -> list[Cell]:
    """The cells of these rows: the first seed of all rows, then the second, so that a table is there soon.

    Args:
        rows: In the order of the table.
        seed: Added to each row's own.
        most: So many seeds of each row at most; None takes all.

    Example:
        >>> rows = [Row(case="mnist", inference="cnn", obfuscation=o, seeds=(0, 1)) for o in ("mlp", "cnn")]
        >>> [(cell.row.obfuscation, cell.seed) for cell in cells(rows, seed=5)]
        [('mlp', 5), ('cnn', 5), ('mlp', 6), ('cnn', 6)]
        >>> len(cells(rows, most=1))
        2
    """
    longest = max((len(row.seeds) for row in rows), default=0)
    longest = longest if most is None else min(longest, most)
    return [
        Cell(row=row, seed=seed + row.seeds[place])
        for place in range(longest)
        for row in rows
        if place < len(row.seeds)
    ]


def chosen_rows(rows: Sequence[Row], *, cases: str = "", span: str = "") -> tuple[Row, ...]:
    """A part of a grid.

    Args:
        rows: The whole grid.
        cases: Names of cases with commas between; empty takes all.
        span: `N`, `N..M` or `N..`: rows by their number in the whole grid, from 1; empty takes all.

    Raises:
        UnknownNameError: no row is of such a case; lists the grid's cases.
        UsageError: a span that is none, or nothing is left.

    Example:
        >>> [row.name for row in chosen_rows(QUICK, cases="asl")]
        ['asl/scene/compact/conv']
        >>> len(chosen_rows(FULL, span="33..")) == len(FULL) - 32
        True
    """
    known = list(dict.fromkeys(row.case for row in rows))
    wanted = [name.strip() for name in cases.split(",")] if cases else known
    for name in wanted:
        if name not in known:
            raise UnknownNameError("case of this grid", name, known)
    first, last = _bounds(span, len(rows))
    chosen = tuple(row for row in rows[first - 1 : last] if row.case in wanted)
    if not chosen:
        raise UsageError(
            f"rows of {', '.join(wanted)} among {span}", "none", "give other --rows, or leave it out"
        )
    return chosen


def _bounds(span: str, count: int) -> tuple[int, int]:
    if not span:
        return 1, count
    found = _SPAN.fullmatch(span)
    if found is not None:
        first = int(found[1])
        last = int(found[3]) if found[3] else count if found[2] else first
        if 1 <= first <= last <= count:
            return first, last
    raise UsageError(f"rows as N, N..M or N.., from 1 to {count}", repr(span), "give --rows so")
