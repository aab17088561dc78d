"""Every architecture keeps its contract, at several sample sizes; one row an architecture."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from obfnet.core.errors import UnknownNameError
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES
from obfnet.nets.inference import InferenceCNN

INFERENCE = ["cnn", "mlp"]
OBFUSCATION = ["mlp", "cnn"]
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 9, 7)]


def test_every_architecture_has_a_row() -> None:
    assert INFERENCE_ARCHITECTURES.names() == INFERENCE
    assert OBFUSCATION_ARCHITECTURES.names() == OBFUSCATION


@pytest.mark.parametrize("registry", [INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES])
def test_an_unknown_architecture_lists_the_known_ones(registry: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"'transformer'; known: (cnn, mlp|mlp, cnn)$"):
        registry.get("transformer")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", INFERENCE)
def test_an_inference_network_scores_every_class(name: str, shape: tuple[int, int, int]) -> None:
    network = INFERENCE_ARCHITECTURES.get(name)(shape, 7).eval()
    scores = network(torch.rand(3, *shape))
    assert scores.shape == (3, 7)
    assert scores.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OBFUSCATION)
@pytest.mark.parametrize("size", [1, 50])
def test_obfuscated_samples_pass_for_raw_ones(name: str, shape: tuple[int, int, int], size: float) -> None:
    torch.manual_seed(0)
    network = OBFUSCATION_ARCHITECTURES.get(name)(shape, 5).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(size)
    raw = torch.rand(4, *shape)
    obfuscated = network(raw)
    assert obfuscated.shape == raw.shape
    assert obfuscated.dtype == raw.dtype
    assert 0 <= obfuscated.min() <= obfuscated.max() <= 1
    if size > 1:
        # The upper end is reached and cut, which untrained weights alone would not show.
        assert obfuscated.max() == 1


@pytest.mark.parametrize("name", OBFUSCATION)
def test_a_sample_is_obfuscated_alike_alone_and_in_a_batch(name: str) -> None:
    network = OBFUSCATION_ARCHITECTURES.get(name)((1, 8, 8), 5).eval()
    raw = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(network(raw)[2:3], network(raw[2:3]), rtol=0, atol=1e-6)


def test_pooling_before_the_second_relu_is_the_papers_function() -> None:
    torch.manual_seed(1)
    network = InferenceCNN((1, 28, 28), 10).eval()

    def in_the_papers_order(samples: torch.Tensor) -> torch.Tensor:
        features = functional.relu(network.conv2(functional.relu(network.conv1(samples))))
        hidden = functional.relu(network.hidden(functional.max_pool2d(features, 2).flatten(1)))
        scores: torch.Tensor = network.scores(hidden)
        return scores

    samples = torch.rand(16, 1, 28, 28)
    assert torch.equal(network(samples), in_the_papers_order(samples))


def test_dropout_is_the_papers() -> None:
    rates = [part.p for part in InferenceCNN((1, 28, 28), 10).modules() if isinstance(part, nn.Dropout)]
    assert rates == [0.25, 0.5]
