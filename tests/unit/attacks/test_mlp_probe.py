"""The multilayer perceptron as an attribute attack: the same network as `probe_attribute`'s."""

import numpy as np
import pytest

from obfnet.attacks.attribute_probe import KnownAttributes, MLPProbe, probe_attribute
from obfnet.core.errors import AttackError
from obfnet.core.progress import Silent
from tests.unit.attacks.planted import VALUES, planted


def test_it_is_the_probe_that_the_demo_asks() -> None:
    (samples, values), (asked, truth) = planted(600, 0), planted(200, 1)
    recognise = MLPProbe(epochs=8).fit(samples, values, count=VALUES, seed=3, progress=Silent())
    scores = recognise(asked)
    known = KnownAttributes(received=samples, values=values)
    answers = probe_attribute(known, asked, epochs=8, seed=3, progress=Silent())
    np.testing.assert_array_equal(scores.argmax(axis=1), answers)
    assert (scores.shape, scores.dtype) == ((200, VALUES), np.float64)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert (answers == truth).mean() > 0.9


def test_effort_is_a_share_of_a_standard_training() -> None:
    samples, values = planted(100, 0)
    one = MLPProbe(effort=0.01).fit(samples, values, count=6, seed=0, progress=Silent())(samples[:5])
    # 4,000 steps of 64 are 2,560 passes over a hundred samples.
    other = MLPProbe(epochs=25.6).fit(samples, values, count=6, seed=0, progress=Silent())(samples[:5])
    np.testing.assert_array_equal(one, other)
    assert one.shape == (5, 6)


def test_values_beyond_the_count_are_refused() -> None:
    samples, values = planted(100, 0)
    with pytest.raises(AttackError, match="values below 3, got up to 3"):
        MLPProbe().fit(samples, values, count=3, seed=0, progress=Silent())
