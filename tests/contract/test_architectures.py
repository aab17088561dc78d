"""Every architecture keeps its contract, at several sample sizes; one row an architecture."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from obfnet.bundle import build_bundle
from obfnet.bundle.operators import OPERATORS
from obfnet.core.errors import UnknownNameError, UsageError
from obfnet.core.spec import InputSpec
from obfnet.export import inference_onnx, obfuscation_onnx
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES, Shape
from obfnet.nets.inference import InferenceCNN
from tests.malformed.corpus import FACTS, KEY

DIGITS, MFCC, ODD, PHOTO = (1, 8, 8), (1, 20, 45), (3, 9, 7), (3, 16, 16)
ANY = [DIGITS, (1, 28, 28), MFCC, ODD, PHOTO]
# Name: shapes that work, the first of which is exported.
INFERENCE: dict[str, list[Shape]] = {
    "cnn": ANY,
    "mlp": ANY,
    "fsd-cnn": [MFCC, (1, 7, 10), PHOTO],
    "fsd-mlp": [MFCC, *ANY],
    "asl-cnn": [PHOTO, DIGITS],
    "asl-mlp": [PHOTO, *ANY],
    "residual": [PHOTO, (1, 28, 28), MFCC, (3, 48, 50)],
    "compact": [PHOTO, (1, 28, 28), MFCC, (3, 48, 50)],
}
# Name: hidden size by default, shapes.
OBFUSCATION: dict[str, tuple[int, list[Shape]]] = {
    "mlp": (100, ANY),
    "cnn": (100, ANY),
    "fsd-mlp": (200, [MFCC, *ANY]),
    "fsd-cnn": (5, [MFCC, (1, 5, 10), PHOTO]),
    "asl-mlp": (100, [PHOTO, *ANY]),
    "asl-cnn": (100, [PHOTO, *ANY]),
    "conv": (24, [PHOTO, DIGITS, (1, 28, 28), MFCC, (3, 9, 13), (3, 11, 10)]),
}
# Name: the largest shapes that do not work.
TOO_SMALL: dict[str, list[Shape]] = {
    "I residual": [(3, 15, 16), (3, 16, 15)],
    "I compact": [(3, 15, 16)],
    "I fsd-cnn": [(1, 6, 10), (1, 7, 9)],
    "I asl-cnn": [(3, 7, 8), (3, 8, 7)],
    "O cnn": [(1, 3, 4), (1, 4, 3)],
    "O fsd-cnn": [(1, 4, 10), (1, 5, 9)],
    "O asl-cnn": [(1, 3, 4), (1, 4, 3)],
    "O conv": [(3, 7, 8), (3, 8, 7)],
}
INFERENCE_CASES = [(name, shape) for name, shapes in INFERENCE.items() for shape in shapes]
OBFUSCATION_CASES = [(name, shape) for name, (_, shapes) in OBFUSCATION.items() for shape in shapes]


def spec_of(shape: Shape) -> InputSpec:
    return InputSpec(shape=shape, dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="none")


def lived_in(network: nn.Module) -> nn.Module:
    """The network with running statistics as training leaves them, so that folding them in must be right."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return network.eval()


def answer_of(graph: bytes, samples: torch.Tensor) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    answer: np.ndarray[Any, Any] = session.run(None, {"input": samples.numpy()})[0]
    return answer


def test_every_architecture_has_a_row() -> None:
    assert INFERENCE_ARCHITECTURES.names() == list(INFERENCE)
    assert OBFUSCATION_ARCHITECTURES.names() == list(OBFUSCATION)


@pytest.mark.parametrize("registry", [INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES])
def test_an_unknown_architecture_lists_the_known_ones(registry: Any) -> None:
    with pytest.raises(UnknownNameError, match=f"'transformer'; known: {', '.join(registry.names())}$"):
        registry.get("transformer")


@pytest.mark.parametrize(("name", "shape"), INFERENCE_CASES)
def test_an_inference_network_scores_every_class(name: str, shape: Shape) -> None:
    network = INFERENCE_ARCHITECTURES.get(name)(shape, 7).eval()
    scores = network(torch.rand(3, *shape))
    assert scores.shape == (3, 7)
    assert scores.isfinite().all()


@pytest.mark.parametrize(("name", "shape"), OBFUSCATION_CASES)
@pytest.mark.parametrize("size", [1, 50])
@pytest.mark.parametrize("training", [False, True])
def test_obfuscated_samples_pass_for_raw_ones(name: str, shape: Shape, size: float, training: bool) -> None:
    torch.manual_seed(0)
    network = OBFUSCATION_ARCHITECTURES.get(name)(shape, 5).train(training)
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
    shape = OBFUSCATION[name][1][0]
    network = lived_in(OBFUSCATION_ARCHITECTURES.get(name)(shape, 5))
    raw = torch.rand(4, *shape)
    # Sums are taken in another order, and how far that is off depends on the processor.
    torch.testing.assert_close(network(raw)[2:3], network(raw[2:3]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", OBFUSCATION)
def test_each_obfuscation_network_says_its_default_width(name: str) -> None:
    assert OBFUSCATION_ARCHITECTURES.get(name).default_hidden == OBFUSCATION[name][0]


@pytest.mark.parametrize("name", OBFUSCATION)
def test_a_fresh_obfuscation_network_can_learn_in_every_weight(name: str) -> None:
    torch.manual_seed(0)
    architecture = OBFUSCATION_ARCHITECTURES.get(name)
    shape = OBFUSCATION[name][1][0]
    network = architecture(shape, architecture.default_hidden)
    raw = torch.rand(16, *shape)
    functional.mse_loss(network(raw), raw).backward()  # type: ignore[no-untyped-call]
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    moved = [value.grad.abs().max() > 0 for value in network.parameters() if value.grad is not None]
    # A bias in front of batch normalisation is taken out again by it.
    assert sum(moved) >= len(moved) - 2


@pytest.mark.parametrize(("name", "shape"), [(name, s) for name, shapes in TOO_SMALL.items() for s in shapes])
def test_samples_that_are_too_small_are_refused(name: str, shape: Shape) -> None:
    role, _, architecture = name.partition(" ")
    registry: Any = INFERENCE_ARCHITECTURES if role == "I" else OBFUSCATION_ARCHITECTURES
    with pytest.raises(UsageError, match=rf"samples of at least .*, got {shape[1]}x{shape[2]}; "):
        registry.get(architecture)(shape, 10)


@pytest.mark.parametrize("name", INFERENCE)
def test_an_exported_inference_network_answers_as_torch_does(name: str) -> None:
    torch.manual_seed(0)
    shape = INFERENCE[name][0]
    network = lived_in(INFERENCE_ARCHITECTURES.get(name)(shape, 7))
    samples = torch.rand(3, *shape)
    with torch.no_grad():
        expected = network(samples).softmax(1).numpy()
    answer = answer_of(inference_onnx(network, spec_of(shape)), samples)
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", OBFUSCATION)
def test_an_exported_obfuscation_network_obfuscates_as_torch_does_and_is_accepted(name: str) -> None:
    torch.manual_seed(0)
    hidden, (shape, *_) = OBFUSCATION[name]
    spec = spec_of(shape)
    network = lived_in(OBFUSCATION_ARCHITECTURES.get(name)(shape, hidden))
    raw = torch.rand(3, *shape)
    with torch.no_grad():
        expected = network(raw).numpy()
    graph = obfuscation_onnx(network, spec)
    np.testing.assert_allclose(answer_of(graph, raw), expected, rtol=0, atol=1e-4)
    model = onnx.load_from_string(graph).graph
    assert {node.op_type for node in model.node} <= OPERATORS
    used = {name for node in model.node for name in node.input}
    assert {tensor.name for tensor in model.initializer} <= used
    # What is built has passed every check that a device makes.
    assert build_bundle(graph=graph, key=KEY, **FACTS | {"input": spec, "architecture": name})


def test_an_obfuscation_network_for_odd_sizes_is_exported_too() -> None:
    shape = (3, 11, 9)
    network = lived_in(OBFUSCATION_ARCHITECTURES.get("conv")(shape, 8))
    raw = torch.rand(2, *shape)
    with torch.no_grad():
        expected = network(raw).numpy()
    answer = answer_of(obfuscation_onnx(network, spec_of(shape)), raw)
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-4)


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


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("cnn", [0.25, 0.5]),
        ("fsd-cnn", [0.25, 0.1, 0.25]),
        ("fsd-mlp", [0.15, 0.15, 0.1, 0.25]),
        ("asl-cnn", [0.25, 0.5]),
        ("asl-mlp", []),
    ],
)
def test_dropout_is_the_papers(name: str, rates: list[float]) -> None:
    network = INFERENCE_ARCHITECTURES.get(name)(MFCC, 10)
    assert [part.p for part in network.modules() if isinstance(part, nn.Dropout)] == rates
