"""The paper's inference networks refuse what is too small for them, with what to use instead."""

import pytest
import torch

from obfnet.core.errors import UsageError
from obfnet.nets.inference import InferenceCNN, InferenceMLP


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 6, 40), (1, 8, 8)])
def test_the_smallest_samples_get_scores(shape: tuple[int, int, int]) -> None:
    assert InferenceCNN(shape, 4)(torch.rand(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 40), (3, 40, 5)])
def test_smaller_ones_are_refused_by_the_convolutional_one_only(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match=r"at least 6x6 for cnn, got .*; choose another architecture"):
        InferenceCNN(shape, 4)
    assert InferenceMLP(shape, 4)(torch.rand(2, *shape)).shape == (2, 4)
