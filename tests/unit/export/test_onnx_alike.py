"""Networks of a pool exported together: the same bytes as one by one, whatever the architecture."""

from collections.abc import Callable

import onnx
import pytest
import torch
from torch import Tensor, nn

from obfnet.core.spec import InputSpec
from obfnet.export import obfuscation_onnx, pool_onnx
from obfnet.export.onnx_alike import exported_alike
from obfnet.nets import OBFUSCATION_ARCHITECTURES
from obfnet.nets.exact import ExactLinear
from obfnet.nets.mode import evaluating
from obfnet.training.protections import PROTECTIONS, Purpose

SHAPE = (1, 8, 8)
SPEC = InputSpec(shape=SHAPE, dtype="uint8", low=0.0, high=255.0, layout="CHW", preprocessing="none")
PURPOSE = {"shape": SHAPE, "hidden": 12, "classes": 10, "attribute_values": 0}


def agitated(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            if value.is_floating_point():
                value.add_(torch.rand_like(value) / 10)
    return network.eval()


def networks_of(build: Callable[[], nn.Module], count: int = 4) -> list[nn.Module]:
    networks = []
    for number in range(count):
        torch.manual_seed(number)
        networks.append(agitated(build()))
    return networks


@pytest.mark.parametrize("name", ["mlp", "cnn", "conv"])
def test_published_networks_are_as_one_by_one(name: str) -> None:
    networks = networks_of(lambda: OBFUSCATION_ARCHITECTURES.get(name)(SHAPE, 12))
    assert pool_onnx(networks, SPEC) == [obfuscation_onnx(network, SPEC) for network in networks]


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_codes_are_as_one_by_one(architecture: str) -> None:
    coded = PROTECTIONS.get("coded")(8, epsilon=None, noise=None, rich_share=None)
    networks = [
        coded.obfuscation_of(network)
        for network in networks_of(lambda: coded.build(Purpose(architecture=architecture, **PURPOSE)))
    ]
    assert pool_onnx(networks, SPEC, exact=True) == [
        obfuscation_onnx(network, SPEC, exact=True) for network in networks
    ]


class Folded(nn.Module):
    """A weight of which only the square is exported, as its exporter folds it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.rand(3)), nn.Parameter(torch.rand(3))

    def forward(self, samples: Tensor) -> Tensor:
        return samples * self.weight * self.scale


def traced(module: nn.Module, *, fold: bool) -> bytes:
    weights = dict(module.state_dict())
    if fold:
        weights["scale"] = weights["scale"] ** 2
    initializers = [onnx.numpy_helper.from_array(value.numpy(), name) for name, value in weights.items()]
    kind = onnx.TensorProto.FLOAT
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node("Mul", ["input", "weight"], ["half"]),
                onnx.helper.make_node("Mul", ["half", "scale"], ["output"]),
            ],
            "network",
            [onnx.helper.make_tensor_value_info("input", kind, ["N", 3])],
            [onnx.helper.make_tensor_value_info("output", kind, ["N", 3])],
            initializers,
        )
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@pytest.mark.parametrize(("fold", "exports"), [(False, 2), (True, 5)])
def test_the_exporter_is_asked_twice_unless_it_changes_weights(fold: bool, exports: int) -> None:
    asked = []

    def export(module: nn.Module) -> bytes:
        asked.append(module)
        return traced(module, fold=fold)

    modules = networks_of(Folded, 5)
    assert exported_alike(modules, export) == [traced(module, fold=fold) for module in modules]
    assert len(asked) == exports


def test_equal_weights_of_one_network_are_left_to_the_exporter() -> None:
    modules = networks_of(Folded, 3)
    modules[2].scale = modules[2].weight
    asked = []

    def export(module: nn.Module) -> bytes:
        asked.append(module)
        return traced(module, fold=False)

    exported_alike(modules, export)
    assert asked == modules


def test_a_network_of_other_weights_than_the_first_is_left_to_the_exporter() -> None:
    modules = networks_of(Folded, 4)
    modules[2].more = nn.Parameter(torch.rand(3))
    modules[3].weight = nn.Parameter(torch.rand(1))
    asked = []

    def export(module: nn.Module) -> bytes:
        asked.append(module)
        return traced(module, fold=False)

    assert exported_alike(modules, export) == [traced(module, fold=False) for module in modules]
    assert asked == modules


def test_weights_that_are_rounded_when_training_ends_are_put_in_rounded() -> None:
    def modules() -> list[nn.Module]:
        networks = []
        for seed in range(4):
            torch.manual_seed(seed)
            networks.append(ExactLinear(3, 2, most=1.0).train())
        return networks

    def export(module: nn.Module) -> bytes:
        with evaluating(module):
            initializers = [
                onnx.numpy_helper.from_array(value.detach().numpy(), name)
                for name, value in module.state_dict().items()
            ]
        model = onnx.helper.make_model(onnx.helper.make_graph([], "network", [], [], initializers))
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    assert exported_alike(modules(), export) == [export(module) for module in modules()]
