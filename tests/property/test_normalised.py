"""What normalised leakage promises, for any scores.

Scores lie on a grid of binary fractions, so that sums are exact and a tie stays a tie.
"""

from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from obfnet.auditing.normalised import FEWEST, NormalisedLeakage, normalised_leakage

Floats = np.ndarray[Any, Any]
Three = tuple[Floats, Floats, Floats]
RESAMPLES = 60
# A loaded machine draws slowly, which says nothing of what is tested.
PATIENT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
FIGURES = ("mean", "p95", "share_over_half")


@st.composite
def scores(draw: st.DrawFn) -> Three:
    """Attacked, floor and raw, `(S, N)` each, of an attack that is able."""
    shape = (draw(st.sampled_from([1, 2, 4])), draw(st.integers(FEWEST, 40)))
    grid = arrays(np.int64, shape, elements=st.integers(-64, 64))
    attacked, floor, gap = (draw(grid) / 128 for _ in range(3))
    # Mostly better than the floor, as an able attack is; some samples are worse.
    return attacked, floor, floor + gap + 0.375


def measured(attacked: Floats, floor: Floats, raw: Floats) -> NormalisedLeakage:
    leak = normalised_leakage(attacked, floor, raw, seed=0, resamples=RESAMPLES)
    assume(leak.able)
    return leak


def values(leak: NormalisedLeakage) -> list[float]:
    return [getattr(leak, name).value for name in FIGURES]


@PATIENT
@given(scores())
def test_the_floor_itself_is_nothing(three: Three) -> None:
    _, floor, raw = three
    leak = measured(floor, floor, raw)
    assert values(leak) == [0, 0, 0]
    assert (leak.mean.low, leak.mean.high) == (0, 0)
    assert (leak.per_sample == 0).all()


@PATIENT
@given(scores())
def test_the_raw_control_itself_is_one(three: Three) -> None:
    _, floor, raw = three
    leak = measured(raw, floor, raw)
    assert (leak.mean.value, leak.mean.low, leak.mean.high) == (1, 1, 1)
    assert (leak.per_sample <= 1).all()
    helped = (raw - floor).mean(axis=0) >= leak.gap.value / 2
    assert (leak.per_sample[helped] == 1).all()
    # A quarter of the mean gap is what half a leakage takes.
    assert leak.share_over_half.value >= helped.mean()


@PATIENT
@given(scores(), st.sampled_from([0.25, 2.0, 64.0]), st.integers(-8, 8))
def test_another_unit_of_the_metric_changes_nothing(three: Three, scale: float, shift: int) -> None:
    leak, rescaled = measured(*three), measured(*(scale * array + shift for array in three))
    for name in FIGURES:
        assert getattr(leak, name) == getattr(rescaled, name)
    np.testing.assert_array_equal(leak.per_sample, rescaled.per_sample)


@PATIENT
@given(scores(), st.integers(0, 2**32 - 1))
def test_the_order_of_samples_does_not_matter(three: Three, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(three[0].shape[1])
    leak, shuffled = measured(*three), measured(*(array[:, order] for array in three))
    for name in FIGURES:
        assert getattr(leak, name) == getattr(shuffled, name)
    np.testing.assert_array_equal(leak.per_sample[order], shuffled.per_sample)


@PATIENT
@given(scores(), st.data())
def test_a_better_guess_never_lowers_it(three: Three, data: st.DataObject) -> None:
    attacked, floor, raw = three
    gains = data.draw(arrays(np.int64, attacked.shape, elements=st.integers(0, 32))) / 128
    leak, better = measured(*three), measured(attacked + gains, floor, raw)
    assert all(after >= before for before, after in zip(values(leak), values(better), strict=True))
    assert (better.per_sample >= leak.per_sample).all()


@PATIENT
@given(scores(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_part_of_the_way_is_that_part_of_the_leakage(three: Three, part: float) -> None:
    _, floor, raw = three
    leak = measured(floor + part * (raw - floor), floor, raw)
    assert leak.mean.value == part
    assert leak.share_over_half.value == 0 if part <= 0.5 else leak.share_over_half.value > 0
