"""The grids: the cells that they promise, each of which can be named, and the choice of a part of them."""

from collections import Counter

import pytest

from obfnet.bench.grid import FULL, QUICK, Row, cells, chosen_rows
from obfnet.core.errors import UnknownNameError, UsageError
from obfnet.data.cases import CASES, split_rule
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES


def rows_of(grid, **wanted):
    return [row for row in grid if all(getattr(row, name) == value for name, value in wanted.items())]


@pytest.mark.parametrize("row", [*FULL, *QUICK], ids=lambda row: row.name)
def test_every_name_of_a_row_is_known(row):
    spec = CASES.get(row.case)
    split_rule(spec, row.split)
    assert row.inference in spec.inference
    assert row.obfuscation in spec.obfuscation
    assert spec.inference[row.inference] in INFERENCE_ARCHITECTURES.names()
    assert spec.obfuscation[row.obfuscation] in OBFUSCATION_ARCHITECTURES.names()


@pytest.mark.parametrize("grid", [FULL, QUICK])
def test_no_row_is_there_twice(grid):
    assert max(Counter(row.name for row in grid).values()) == 1


def test_the_full_grid_is_the_papers_and_more():
    assert Counter(row.case for row in FULL) == {"mnist": 32, "fsd": 14, "asl": 4, "cifar10": 3}
    assert {row.hidden for row in rows_of(FULL, case="mnist")} == {8, 16, 32, 64, 100, 128, 256, 512}
    assert {row.split for row in rows_of(FULL, case="fsd")} == {
        *("official", "random", "speaker:george", "speaker:jackson", "speaker:lucas"),
        *("speaker:nicolas", "speaker:theo", "speaker:yweweler"),
    }
    assert {row.split for row in rows_of(FULL, case="asl")} == {"scene", "random"}
    assert all(row.tenth for row in rows_of(FULL, case="cifar10"))
    assert all(row.seeds == (0, 1, 2) and row.share == row.attack_share == 1 for row in FULL)


def test_the_full_grid_cuts_nothing_short_but_the_lesser_obfuscation_networks_of_photographs():
    brief = [row.name for row in FULL if row.obfuscation_share < 1]
    assert len(brief) == 3
    assert all(name.startswith(("asl/", "cifar10/")) for name in brief)
    assert not any(name.endswith("/conv") for name in brief)
    assert "asl/scene/compact/mlp(100)" not in brief


def test_the_quick_grid_has_every_case_and_says_that_it_trains_less():
    assert {row.case for row in QUICK} == {row.case for row in FULL}
    assert all(row.share < 1 and row.attack_share < 1 and len(row.seeds) == 1 for row in QUICK)


def test_the_first_seed_of_every_row_comes_first():
    listed = cells(FULL, seed=10)
    assert len(listed) == 3 * len(FULL)
    assert [cell.row for cell in listed[: len(FULL)]] == list(FULL)
    assert [cell.seed for cell in listed[:: len(FULL)]] == [10, 11, 12]


@pytest.mark.parametrize(("span", "numbers"), [("2", [2]), ("3..5", [3, 4, 5]), ("52..", [52, 53])])
def test_rows_by_number(span, numbers):
    assert chosen_rows(FULL, span=span) == tuple(FULL[number - 1] for number in numbers)


def test_rows_of_some_cases():
    assert {row.case for row in chosen_rows(FULL, cases="asl, fsd")} == {"asl", "fsd"}
    assert len(chosen_rows(FULL, cases="mnist", span="31..")) == 2


@pytest.mark.parametrize("span", ["0", "5..3", "54", "a", "1..2..3", "-1", "..3"])
def test_rows_that_are_none_are_refused(span):
    with pytest.raises(UsageError, match="from 1 to 53"):
        chosen_rows(FULL, span=span)


def test_a_case_that_the_grid_lacks_is_named_with_those_that_it_has():
    with pytest.raises(UnknownNameError, match=r"'digits'; known: mnist, fsd, asl, cifar10"):
        chosen_rows(FULL, cases="mnist,digits")


def test_a_choice_of_nothing_is_refused():
    with pytest.raises(UsageError, match=r"rows of asl among 1\.\.3, got none"):
        chosen_rows(FULL, cases="asl", span="1..3")


@pytest.mark.parametrize(
    "wrong",
    [{"share": 0.0}, {"share": 1.5}, {"obfuscation_share": 0.0}, {"attack_share": 0.0}, {"seeds": ()}],
)
def test_a_row_without_training_or_seeds_is_refused(wrong):
    with pytest.raises(UsageError, match="shares in"):
        Row(case="mnist", inference="cnn", obfuscation="mlp", **wrong)
