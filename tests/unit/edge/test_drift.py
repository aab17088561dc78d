"""The test behind the monitor: its tail against SciPy, its rate of false alarms, and what it sees."""

import numpy as np
import pytest
from scipy import stats

from obfnet.core.errors import UsageError
from obfnet.edge.drift import FALSE_ALARM, Limits, chi_squared_tail, homogeneity, moved, quantities

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
    assert homogeneity(np.array([990, 5, 5]), np.array([500, 0, 0])) == pytest.approx(
        homogeneity(np.array([990, 10]), np.array([500, 0]))
    )
    assert homogeneity(np.array([1_000]), np.array([500])) == 1.0
    assert homogeneity(np.zeros(3, int), np.array([1, 2, 3])) == 1.0
    assert homogeneity(np.array([0, 1_000]), np.array([0, 500])) == 1.0


def test_windows_without_a_change_are_called_moved_no_oftener_than_said():
    # So many windows that a rate of ten times as much would be seen almost for certain.
    alarms = 0
    for seed in range(60):
        known = seen(2_000, seed=1_000 + seed)
        limits = Limits.learnt(known, classes=CLASSES)
        counts = limits.count(known)
        windows = seen(10_000, seed=seed)
        for start in range(0, 10_000, 500):
            part = {name: values[start : start + 500] for name, values in windows.items()}
            alarms += bool(moved(counts, limits.count(part)))
    assert stats.binom.sf(alarms - 1, 60 * 20, FALSE_ALARM) > 1e-3


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
        assert counts[name].min() > 400
    assert len(counts["label"]) == CLASSES
    far = {name: np.full(3, 1e9) for name in counts}
    assert all(
        int(each.sum()) == 3 and each[-1] == 3
        for each in Limits.learnt(known, classes=CLASSES).count(far).values()
    )


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
