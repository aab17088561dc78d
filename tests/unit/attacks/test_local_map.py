"""A map of neighbourhoods: one pair undoes a filter, and guesses at pairs never use the pair itself."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from obfnet.attacks.local_map import LocalMap

RAW = np.random.default_rng(0).random((8, 3, 12, 10)).astype(np.float32)
BASE = np.broadcast_to(RAW.mean(axis=0), RAW.shape).copy()


@pytest.mark.parametrize("count", [1, 4, 7])
def test_mixed_and_inverted_colours_are_undone(count: int) -> None:
    mix = np.array([[0.6, 0.2, 0.2], [0.1, 0.7, 0.2], [0.3, 0.1, 0.6]])
    received = 1 - np.einsum("dc,nchw->ndhw", mix, RAW).astype(np.float32)
    fitted, left_out = LocalMap.fit(received[:count], BASE[:count], RAW[:count])
    assert left_out.shape == RAW[:count].shape
    assert np.abs(left_out - RAW[:count]).max() < 0.05
    assert np.abs(fitted(received, BASE) - RAW).max() < 0.05


def test_a_filter_is_undone_in_part() -> None:
    smooth = uniform_filter(RAW, (0, 0, 2, 2), mode="nearest").astype(np.float32)
    fitted, _ = LocalMap.fit(smooth[:6], BASE[:6], RAW[:6])
    assert ((fitted(smooth[6:], BASE[6:]) - RAW[6:]) ** 2).mean() < 0.8 * ((smooth[6:] - RAW[6:]) ** 2).mean()


@pytest.mark.parametrize("count", [2, 8])
def test_guesses_at_pairs_gain_nothing_from_noise(count: int) -> None:
    noise = np.random.default_rng(1).random(RAW.shape).astype(np.float32)
    mean = np.full_like(RAW, 0.5)
    _, left_out = LocalMap.fit(noise[:count], mean[:count], RAW[:count])
    assert ((left_out - RAW[:count]) ** 2).mean() > 0.99 * RAW[:count].var()
