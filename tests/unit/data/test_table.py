"""Every rule of a split on tables made up for it: disjoint, complete, the same every time, groups whole."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfnet.core.errors import DataError, UnknownNameError, UsageError
from obfnet.data.case import CaseSpec
from obfnet.data.cases import CASES, split_rule, split_table
from obfnet.data.table import TEST, TRAIN, VALIDATION, Attribute, Cut, Split, SplitRule, Table, cut

CLASSES, SPEAKERS = 3, 4


def table(count: int = 120, *, parts: tuple[str, ...] = (TRAIN, TRAIN, TRAIN, TEST), **columns: Any) -> Table:
    """Classes, parts and speakers in turns, so that all of them meet; the sample is its own index."""
    number = np.arange(count)
    made: dict[str, Any] = {
        "samples": number.astype(np.float32)[:, None],
        "labels": number % CLASSES,
        "part": np.array(parts)[number // CLASSES % len(parts)],
        "attribute": number // 7 % SPEAKERS,
        "names": np.array([f"{index}.wav" for index in number]),
    }
    return Table(**{**made, **columns})


def rule(**changes: Any) -> SplitRule:
    return SplitRule(**{"name": "rule", "about": "a test", **changes})


def parts_of(made: Cut) -> tuple[list[int], list[int], list[int]]:
    return made.train.tolist(), made.validation.tolist(), made.test.tolist()


def check_cut(made: Cut, whole: set[int]) -> None:
    """Ascending, disjoint and together `whole`."""
    parts = parts_of(made)
    assert all(part == sorted(set(part)) and part for part in parts)
    assert sum(map(len, parts)) == len(whole)
    assert set().union(*map(set, parts)) == whole


def test_a_published_test_part_is_the_whole_test() -> None:
    some = table()
    made = cut(some, rule())
    check_cut(made, set(range(120)))
    assert made.test.tolist() == np.flatnonzero(some.part == TEST).tolist()
    assert len(made.validation) == round(0.1 * 90)
    assert np.bincount(some.labels[made.validation]).tolist() == [3, 3, 3]


@pytest.mark.parametrize(("validation", "count"), [(9, 9), (0.2, 18), (1e-9, 1)])
def test_validation_is_a_number_or_a_share(validation: int | float, count: int) -> None:
    assert len(cut(table(), rule(validation=validation)).validation) == count


def test_a_random_test_is_drawn_from_the_training_part_alone() -> None:
    some = table()
    made = cut(some, rule(test="random", test_share=0.2))
    check_cut(made, set(np.flatnonzero(some.part == TRAIN).tolist()))
    assert np.bincount(some.labels[made.test]).tolist() == [6, 6, 6]


def test_a_random_test_of_all_leaves_nothing_out() -> None:
    made = cut(table(), rule(test="random-of-all"))
    check_cut(made, set(range(120)))
    assert len(made.test) == 12


@pytest.mark.parametrize("test", ["part", "random", "random-of-all"])
def test_a_given_validation_is_kept(test: str) -> None:
    some = table(parts=(TRAIN, TRAIN, VALIDATION, TEST))
    made = cut(some, rule(test=test, validation=0.4))
    given = np.flatnonzero(some.part == VALIDATION)
    assert made.validation.tolist() == np.setdiff1d(given, made.test).tolist()
    if test != "random-of-all":
        assert len(made.validation) == len(given)


@pytest.mark.parametrize("value", range(SPEAKERS))
def test_a_rule_on_the_attribute_tests_on_one_value_and_never_trains_on_it(value: int) -> None:
    some = table()
    made = cut(some, rule(test="attribute"), value=value)
    check_cut(made, set(range(120)))
    assert some.attribute is not None
    assert set(some.attribute[made.test].tolist()) == {value}
    assert made.test.tolist() == np.flatnonzero(some.attribute == value).tolist()


@pytest.mark.parametrize("test", ["part", "random", "random-of-all"])
def test_the_cut_is_the_same_every_time_and_the_seeds_decide_it(test: str) -> None:
    one, again = cut(table(), rule(test=test)), cut(table(), rule(test=test))
    assert parts_of(one) == parts_of(again)
    other = cut(table(), rule(test=test, test_seed=1, validation_seed=1))
    assert one.validation.tolist() != other.validation.tolist()
    assert (one.test.tolist() != other.test.tolist()) == (test != "part")


def test_validation_takes_the_last_groups_of_each_class_whole() -> None:
    number = np.arange(120)
    some = table(parts=(TRAIN,) * 9 + (TEST,), group=number // 12)
    made = cut(some, rule(validation=0.2, validation_by_group=True))
    check_cut(made, set(range(120)))
    assert some.group is not None
    for label in range(CLASSES):
        groups = [set(some.group[part[some.labels[part] == label]]) for part in (made.train, made.validation)]
        assert not groups[0] & groups[1]
        assert max(groups[0]) < min(groups[1])


def test_a_class_of_one_group_stays_in_training() -> None:
    number = np.arange(120)
    groups = np.where(number % CLASSES == 0, 0, number // 12)
    some = table(group=groups)
    made = cut(some, rule(validation_by_group=True))
    assert set(some.labels[made.train].tolist()) == {0, 1, 2}
    assert set(some.labels[made.validation].tolist()) == {1, 2}


def test_without_groups_validation_is_drawn_though_it_should_be_by_group() -> None:
    plain = cut(table(), rule())
    assert parts_of(cut(table(), rule(validation_by_group=True))) == parts_of(plain)


@pytest.mark.parametrize(
    ("some", "how", "value", "error", "message"),
    [
        (table(parts=(TRAIN,)), rule(), None, DataError, "'rule', got none of one kind; use another split"),
        (table(parts=(TEST,)), rule(), None, DataError, "none of one kind"),
        (table(parts=(VALIDATION, TEST)), rule(), None, DataError, "to train and to choose by"),
        (
            table(group=np.zeros(120, np.int64)),
            rule(validation_by_group=True),
            None,
            DataError,
            "to choose by",
        ),
        (table(), rule(test="attribute"), None, UsageError, "give it as rule:VALUE"),
        (table(attribute=None), rule(test="attribute"), 0, UsageError, "a value for split 'rule'"),
        (table(), rule(test="attribute"), 99, DataError, "none of one kind"),
        (table(attribute=np.zeros(120, np.int64)), rule(test="attribute"), 0, DataError, "none of one kind"),
        (table(), rule(validation=90), None, UsageError, "to hold out 1 to 89"),
        (table(4), rule(test="random-of-all"), None, UsageError, "to hold out 1 to 3"),
    ],
)
def test_a_rule_that_cannot_be_met_is_an_error(
    some: Table, how: SplitRule, value: int | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cut(some, how, value=value)


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 3), min_size=30, max_size=90),
    seed=st.integers(0, 2**16),
    test=st.sampled_from(["part", "random", "random-of-all", "attribute"]),
    by_group=st.booleans(),
    validation=st.sampled_from([0.1, 0.3, 4]),
)
def test_any_table_is_cut_into_disjoint_parts(
    labels: list[int], seed: int, test: str, by_group: bool, validation: int | float
) -> None:
    random = np.random.default_rng(seed)
    count = len(labels)
    part = random.choice([TRAIN, TRAIN, TEST], count)
    part[:9], part[9:12] = TRAIN, TEST
    group, attribute = random.integers(0, 6, count), random.integers(0, 3, count)
    attribute[:6] = np.arange(6) % 3
    some = table(count, labels=np.array(labels), part=part, group=group, attribute=attribute)
    how = rule(test=test, test_share=0.25, validation=validation, validation_by_group=by_group)
    value = 1 if test == "attribute" else None
    try:
        made = cut(some, how, value=value)
    except DataError:
        # Only where no class has a second group is there nothing to choose by.
        assert by_group
        return
    whole = np.flatnonzero(part == TRAIN) if test == "random" else np.arange(count)
    check_cut(made, set(whole.tolist()))
    assert parts_of(cut(some, how, value=value)) == parts_of(made)
    if test in ("random", "random-of-all"):
        # Each class gives its share, rounded up or down.
        pool = np.bincount(some.labels[whole], minlength=4)
        drawn = np.bincount(some.labels[made.test], minlength=4)
        assert (np.abs(drawn - pool * len(made.test) / len(whole)) < 1).all()
    if by_group:
        pairs = [
            set(zip(some.labels[rows].tolist(), group[rows].tolist(), strict=True))
            for rows in (made.train, made.validation)
        ]
        assert not pairs[0] & pairs[1]
        assert set(some.labels[made.validation].tolist()) <= set(some.labels[made.train].tolist())


SPEC = CaseSpec(
    name="toy",
    title="toy",
    input=CASES.get("digits").input,
    classes=("a", "b", "c"),
    source="made up",
    licence="none",
    loader="",
    splits=(rule(name="official"), rule(name="speaker", test="attribute")),
    attribute=Attribute(name="speaker", values=("ann", "bo", "cy", "di")),
)


def test_a_split_is_named_on_the_command_line() -> None:
    assert split_rule(SPEC, None) == split_rule(SPEC, "official") == (SPEC.splits[0], None)
    assert split_rule(SPEC, "speaker:cy") == (SPEC.splits[1], 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scene", "got 'scene'; known: official, speaker"),
        ("", "got ''; known: official, speaker"),
        ("official:ann", "got 'official:ann'; known: official, speaker"),
        ("speaker", "a known speaker, got ''; known: speaker:ann"),
        ("speaker:", "a known speaker, got ''"),
        ("speaker:Ann", "got 'Ann'; known: speaker:ann, speaker:bo"),
    ],
)
def test_a_split_that_is_not_there_lists_the_known_ones(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        split_rule(SPEC, name)


def test_a_split_table_keeps_each_samples_own_columns() -> None:
    some = table()
    data = split_table(SPEC, some, SPEC.splits[1], value=2)
    assert data.split == "speaker:cy"
    for split in (data.train, data.validation, data.test):
        index = np.asarray(split.samples)[:, 0].astype(int)
        assert split.names is not None
        assert split.names.tolist() == [f"{number}.wav" for number in index]
        assert split.labels.tolist() == (index % CLASSES).tolist()
        assert split.attribute is not None
        assert split.attribute.tolist() == (index // 7 % SPEAKERS).tolist()
    assert split_table(SPEC, some, SPEC.splits[0]).split == "official"


def test_a_split_of_columns_of_other_lengths_is_refused() -> None:
    good: dict[str, Any] = {"samples": np.zeros((2, 1)), "labels": np.zeros(2, np.int64)}
    for column in ({"attribute": np.zeros(3, np.int64)}, {"names": np.array(["a"])}):
        with pytest.raises(DataError, match="a label for each"):
            Split(**good, **column)
