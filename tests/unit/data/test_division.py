"""How a user's own samples are divided, held against what a division must keep."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from obfnet.core.errors import DataError, UsageError
from obfnet.data.division import assign_splits
from obfnet.data.listing import SPLITS, Entry, Listing


def made(labels: list[int], splits: list[str | None], groups: list[str | None] | None = None) -> Listing:
    groups = groups or [None] * len(labels)
    entries = tuple(
        Entry(path=Path(f"{number:05}.jpg"), label=f"c{label}", split=split, group=group)
        for number, (label, split, group) in enumerate(zip(labels, splits, groups, strict=True))
    )
    classes = tuple(sorted({entry.label for entry in entries}))
    return Listing(root=Path(), entries=entries, classes=classes, kind="pictures", ignored=0)


def check_division(listing: Listing, division: dict[str, np.ndarray]) -> None:
    assert tuple(division) == SPLITS
    together = np.concatenate(list(division.values()))
    assert sorted(together.tolist()) == list(range(len(listing.entries)))
    for indices in division.values():
        assert indices.dtype == np.int64
        assert len(indices)
        assert (np.diff(indices) > 0).all()
    assert set(listing.labels[division["train"]]) == set(listing.labels)


shares = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))


@given(sizes=st.lists(st.integers(3, 40), min_size=2, max_size=5), parts=shares, seed=st.integers(0, 5))
def test_without_groups_every_class_has_its_share(
    sizes: list[int], parts: tuple[float, float], seed: int
) -> None:
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    listing = made(labels, [None] * len(labels))
    got = assign_splits(listing, test_share=parts[0], validation_share=parts[1], seed=seed)
    check_division(listing, got)
    for label, size in enumerate(sizes):
        for name, share in (("test", parts[0]), ("validation", parts[1])):
            count = int((listing.labels[got[name]] == label).sum())
            assert count >= 1
            assert abs(count - share * size) <= 1
    again = assign_splits(listing, test_share=parts[0], validation_share=parts[1], seed=seed)
    assert all(np.array_equal(got[name], again[name]) for name in SPLITS)


@given(data=st.data())
def test_groups_are_never_cut(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=4, max_size=80))
    assume(len({label for label, _ in rows}) > 1)
    labels, groups = [label for label, _ in rows], [f"g{group}" for _, group in rows]
    listing = made(labels, [None] * len(rows), groups)
    parts, seed = data.draw(shares), data.draw(st.integers(0, 5))
    of_group: dict[str, set[int]] = {}
    for label, group in zip(labels, groups, strict=True):
        of_group.setdefault(group, set()).add(label)
    try:
        got = assign_splits(listing, test_share=parts[0], validation_share=parts[1], seed=seed)
    except DataError:
        # Refused only where indeed no two groups can leave training together.
        for one in of_group:
            for two in set(of_group) - {one}:
                rest = set().union(*(held for name, held in of_group.items() if name not in (one, two)))
                assert rest != set(labels)
        return
    check_division(listing, got)
    sides = [{groups[index] for index in indices} for indices in got.values()]
    assert sum(map(len, sides)) == len(set(groups))
    again = assign_splits(listing, test_share=parts[0], validation_share=parts[1], seed=seed)
    assert all(np.array_equal(got[name], again[name]) for name in SPLITS)


def test_many_groups_come_near_the_shares_and_differ_by_seed() -> None:
    random = np.random.RandomState(0)
    groups = [f"g{number:03}" for number in range(200) for _ in range(random.randint(1, 20))]
    labels = [int(group[1:]) % 4 for group in groups]
    listing = made(labels, [None] * len(labels), groups)
    first, second = assign_splits(listing, seed=0), assign_splits(listing, seed=1)
    for got in (first, second):
        for name, share in (("test", 0.2), ("validation", 0.1)):
            counts = np.bincount(listing.labels[got[name]], minlength=4) / np.bincount(labels)
            assert np.abs(counts - share).max() < 0.03
    assert not np.array_equal(first["test"], second["test"])


def test_three_speakers_who_say_everything_get_a_split_each() -> None:
    listing = made([0, 1] * 30, [None] * 60, [f"s{number // 20}" for number in range(60)])
    got = assign_splits(listing)
    assert [len(indices) for indices in got.values()] == [20, 20, 20]
    pair = made([0, 1] * 20, [None] * 40, [f"s{number // 20}" for number in range(40)])
    with pytest.raises(DataError, match=r"groups enough for test, validation.*2 groups"):
        assign_splits(pair)
    apart = made([0] * 30 + [1] * 30, [None] * 60, [f"s{min(number // 10, 3)}" for number in range(60)])
    assert set(np.flatnonzero(apart.labels == 1)) <= set(assign_splits(apart)["train"])
    alone = made([0] * 30 + [1] * 30, [None] * 60, [f"s{number // 30}" for number in range(60)])
    with pytest.raises(DataError, match="class 'c0' in one of them only"):
        assign_splits(alone)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("given_splits", [("train", "test"), ("train", "validation"), ("train",), SPLITS])
def test_given_splits_are_kept_and_missing_ones_cut_from_training(
    given_splits: tuple[str, ...], grouped: bool
) -> None:
    splits = [given_splits[number % len(given_splits)] for number in range(120)]
    groups = [f"{split}{number // 6}" for number, split in enumerate(splits)]
    labels = [number // 3 % 2 for number in range(120)]
    listing = made(labels, list(splits), list(groups) if grouped else None)
    got = assign_splits(listing)
    check_division(listing, got)
    for name in given_splits[1:]:
        assert got[name].tolist() == [number for number, split in enumerate(splits) if split == name]
    pool = splits.count("train")
    for name, share in (("test", 0.2), ("validation", 0.1)):
        if name not in given_splits:
            assert abs(len(got[name]) - share * pool) <= (6 if grouped else 2)


def test_a_class_too_small_to_cut_is_named() -> None:
    labels = [0, 0, 0, 1, 1, 1]
    listing = made(labels, ["train", "train", "test", "train", "test", "test"])
    with pytest.raises(DataError, match="at least 2 samples of class 'c1' to cut from, got 1"):
        assign_splits(listing)


@pytest.mark.parametrize("parts", [(0, 0.1), (0.2, 0), (0.6, 0.4), (-0.1, 0.1), (float("nan"), 0.1)])
def test_shares_out_of_range_are_refused(parts: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="shares"):
        assign_splits(made([0, 0, 0], [None] * 3), test_share=parts[0], validation_share=parts[1])
