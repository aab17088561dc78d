import re

import numpy as np
import pytest

from obfnet.core.errors import ShapeError
from obfnet.report.histogram import draw_histogram


def heights(path: str) -> list[float]:
    return [100 - float(found) for found in re.findall(r"V([\d.]+)H", path)]


def test_bars_are_the_shares_of_the_samples() -> None:
    scores = np.array([0.01, 0.011, 0.5, 0.99])
    drawn = draw_histogram({"a": scores})
    (panel,) = drawn.panels
    bars = heights(panel.path)
    assert len(bars) == 50
    assert (bars[0], bars[-1], sum(bars)) == (100, 50, 200)
    assert panel.tallest == 0.5
    assert panel.samples == 4
    assert panel.mean == pytest.approx(scores.mean())
    assert panel.mean_at == pytest.approx(100 * scores.mean())
    assert (drawn.low, drawn.high) == (0, 1)
    assert [value for value, _ in drawn.ticks] == [0, 0.25, 0.5, 0.75, 1]


def test_negative_scores_widen_the_common_axis() -> None:
    drawn = draw_histogram({"a": np.array([-0.23, 0.4]), "b": np.array([1.0, 1.0])})
    assert drawn.low == pytest.approx(-0.3)
    assert heights(drawn.panels[1].path)[-1] == 100
    assert all(0 <= place <= 100 for _, place in drawn.ticks)


@pytest.mark.parametrize("series", [{}, {"a": np.array([])}, {"a": np.zeros((2, 2))}])
def test_nothing_to_draw_is_refused(series: dict[str, np.ndarray]) -> None:
    with pytest.raises(ShapeError):
        draw_histogram(series)
