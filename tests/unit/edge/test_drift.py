"""The test behind the monitor: its tail against SciPy, its rate of false alarms, and what it sees."""

import numpy as np
import pytest
from scipy import stats

from obfnet.core.errors import UsageError
from obfnet.edge.drift import Limits, chi_squared_tail, homogeneity, moved, quantities

CLASSES = 5


def seen(count: int, *, seed: int, shift: float = 0.0, classes: int = CLASSES):
    generator = np.random.default_rng(seed)
    unit = np.clip(generator.normal(0.4 + shift, 0.2, (count, 1, 6, 6)), 0, 1).astype(np.float32)
    return quantities(unit, generator.normal(size=(count, classes)).astype(np.float32))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 9, 28])
def test_the_tail_is_scipys(freedom):
    for statistic in (0.0, 0.1, 1.0, 5.0, 30.0, 200.0, 5_000.0):
        wanted = stats.chi2.sf(statistic, freedom)
        assert chi_squared_tail(statistic, freedom) == pytest.approx(wanted, rel=1e-9, abs=1e-300)


def test_homogeneity_is_scipys_for_full_cells():
    generator = np.random.default_rng(0)
    for _ in range(20):
        known, window = generator.integers(200, 900, 8), generator.integers(40, 90, 8)
        wanted = stats.chi2_contingency([known, window], correction=False).pvalue
        assert homogeneity(known, window) == pytest.approx(wanted)


def test_rare_cells_are_taken_together_and_no_cells_say_nothing():
    assert homogeneity(np.array([900, 60, 40]), np.array([450, 30, 20])) == pytest.approx(1.0)
    together = stats.chi2_contingency([[900, 300, 120], [450, 180, 10]], correction=False).pvalue
    assert homogeneity(np.array([900, 300, 100, 20]), np.array([450, 180, 8, 2])) == pytest.approx(together)
    assert homogeneity(np.array([1_000]), np.array([500])) == 1.0
    assert homogeneity(np.zeros(3, int), np.array([1, 2, 3])) == 1.0
    assert homogeneity(np.array([0, 1_000]), np.array([0, 500])) == 1.0
    # One class that is hardly ever there says nothing by itself.
    assert homogeneity(np.array([59_990, 10]), np.array([498, 2])) == 1.0


@pytest.mark.parametrize(
    "shares",
    [
        np.full(8, 1 / 8),
        np.array([0.999, 0.001]),
        np.array([0.9998, 0.0002]),
        np.append(np.full(9, 0.111), 0.001),
        0.6 ** np.arange(1, 30),
    ],
    ids=["even", "one in a thousand", "one in five thousand", "ten classes", "twenty-nine classes"],
)
@pytest.mark.parametrize("reference", [1_000, 10_000])
def test_tables_of_one_distribution_are_called_different_no_oftener_than_said(shares, reference):
    generator, level, tries = np.random.default_rng(0), 0.01, 10_000
    shares = shares / shares.sum()
    known = generator.multinomial(reference, shares, tries)
    windows = generator.multinomial(500, shares, tries)
    found = sum(homogeneity(*both) < level for both in zip(known, windows, strict=True))
    # Half as often again would be seen for certain.
    assert found < 1.4 * level * tries


def test_a_shift_is_seen_and_named():
    known = seen(3_000, seed=0)
    limits = Limits.learnt(known, classes=CLASSES)
    found = moved(limits.count(known), limits.count(seen(500, seed=1, shift=0.1)))
    assert found[0].quantity == "mean"
    assert found == sorted(found, key=lambda one: one.p_value)
    assert not {"label", "margin"} & {one.quantity for one in found}


def test_cells_hold_every_sample_and_about_as_many_each():
    known = seen(4_000, seed=0)
    counts = Limits.learnt(known, classes=CLASSES).count(known)
    assert all(int(each.sum()) == 4_000 for each in counts.values())
    for name in ("mean", "spread", "asymmetry", "roughness", "margin"):
        assert counts[name].min() > 300
    assert len(counts["label"]) == CLASSES
    far = {name: np.full(3, 1e9) for name in counts}
    assert all(
        int(each.sum()) == 3 and each[-1] == 3
        for each in Limits.learnt(known, classes=CLASSES).count(far).values()
    )


def test_no_limit_is_the_value_of_a_sample():
    known = seen(1_001, seed=0)
    limits = Limits.learnt(known, classes=CLASSES)
    for name in ("mean", "spread", "asymmetry", "roughness", "margin"):
        assert len(limits.of[name]) == 7
        assert not np.isin(limits.of[name], known[name]).any()


def test_samples_that_are_all_the_same_make_one_cell_and_no_alarm():
    flat = quantities(
        np.full((1_200, 1, 4, 4), 0.5, np.float32), np.tile([[1.0, 0.0]], (1_200, 1)).astype(np.float32)
    )
    limits = Limits.learnt(flat, classes=2)
    assert not moved(limits.count(flat), limits.count({name: values[:500] for name, values in flat.items()}))


def test_quantities_are_what_numpy_and_scipy_say():
    unit = np.random.default_rng(0).random((20, 3, 8, 9), np.float32)
    scores = np.random.default_rng(1).random((20, 4), np.float32)
    found = quantities(unit, scores)
    flat = unit.reshape(20, -1).astype(np.float64)
    np.testing.assert_allclose(found["asymmetry"], stats.skew(flat, axis=1), rtol=1e-9)
    np.testing.assert_allclose(found["spread"], flat.std(axis=1))
    steps = [np.abs(np.diff(unit.astype(np.float64), axis=axis)).mean(axis=(1, 2, 3)) for axis in (2, 3)]
    np.testing.assert_allclose(found["roughness"], np.mean(steps, axis=0))
    ranked = np.sort(scores, axis=1).astype(np.float64)
    np.testing.assert_allclose(found["margin"], ranked[:, -1] - ranked[:, -2], rtol=1e-6)
    assert (found["label"] == scores.argmax(1)).all()


def test_too_few_samples_are_refused():
    with pytest.raises(UsageError, match="at least 1000 samples to learn what is usual, got 999"):
        Limits.learnt(seen(999, seed=0), classes=CLASSES)
