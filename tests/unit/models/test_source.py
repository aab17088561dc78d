"""Somebody's inference network is opened from whatever she has, untouched, or refused in one line."""

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import ModelError
from obfnet.core.files import sha256_hex
from obfnet.models.source import open_model, state_hash
from tests.unit.models.archives import exported_bytes
from tests.unit.models.graphs import graph_bytes
from tests.unit.models.test_onnx_network import Attention, Depthwise, linear, torch_network

FACTORIES = """
import torch
from torch import nn
class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)
def made():
    return nn.Linear(4, 3)
def raises():
    raise RuntimeError("no weights")
def needs(weights):
    return nn.Linear(4, 3)
def number():
    return 7
class Space:
    made = staticmethod(made)
ready = made()
constant = 7
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module beside the user's shell."""
    (tmp_path / "own_factories.py").write_text(FACTORIES)
    (tmp_path / "own_broken.py").write_text("1 / 0")
    (tmp_path / "own_syntax.py").write_text("def (")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    yield "own_factories"
    for name in ("own_factories", "own_broken", "own_syntax"):
        sys.modules.pop(name, None)


def test_a_module_is_taken_as_it_is() -> None:
    network = nn.Linear(4, 3)
    model = open_model(network)
    assert model.module is network
    assert (model.kind, model.title, model.input_shape, model.input_dtype) == ("module", "Linear", None, None)
    assert network.training
    assert model.identity == open_model(network).identity != open_model(nn.Linear(4, 3)).identity


@pytest.mark.parametrize("name", ["made", "Net", "ready", "Space.made"])
def test_a_factory_is_called(package: str, name: str) -> None:
    model = open_model(f"{package}:{name}")
    assert isinstance(model.module, nn.Linear)
    assert (model.kind, model.title) == ("factory", f"{package}:{name}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own_factories:none", "a callable at 'own_factories:none', got AttributeError"),
        ("own_factories:", "a callable at .*AttributeError"),
        (":made", "a callable at ':made', got ValueError"),
        ("no_such_package:made", "got ModuleNotFoundError"),
        ("own_broken:made", "got ZeroDivisionError"),
        ("own_syntax:made", "got SyntaxError"),
        ("own_factories:raises", "a model from .*got RuntimeError: no weights; mend the factory"),
        ("own_factories:needs", "TypeError: .*it gets no arguments"),
        ("own_factories:constant", "TypeError"),
        ("own_factories:number", "a torch module from own_factories:number, got int; return an nn.Module"),
    ],
)
def test_a_factory_that_gives_no_module_is_refused(package: str, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(text)


@pytest.mark.parametrize(
    "suffix", [".pth", ".pt", ".PT", ".pkl", ".ckpt", ".bin", ".joblib", ".h5", ".keras"]
)
def test_a_pickled_file_is_not_even_opened(tmp_path: Path, suffix: str) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.mkdir, (tmp_path / "ran",)

    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Touch()))
    with pytest.raises(
        ModelError, match=r"without pickled code.*torch\.export\.save\(program, 'model\.pt2'\)"
    ):
        open_model(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.onnx", "a model at .*No such file"),
        ("none.pt2", "a model at .*No such file"),
        ("none", "nothing at"),
        ("folder.onnx", "a model at .*Is a directory"),
        ("folder.pt2", "a model at .*Is a directory"),
        ("folder", "a folder with config.json, got none in folder; give the folder that save_pretrained"),
        ("text.onnx", "an ONNX model with its weights"),
        ("text.pt2", r"a whole \.pt2 file"),
        (
            "text.txt",
            "text.txt, a file of another kind; give package.module:callable, model.onnx, model.pt2 or",
        ),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "folder.pt2").mkdir()
    (tmp_path / "folder").mkdir()
    for suffix in (".onnx", ".pt2", ".txt"):
        (tmp_path / f"text{suffix}").write_text("no model")
    with pytest.raises(ModelError, match=message):
        open_model(tmp_path / name)


def test_a_larger_file_than_can_be_held_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obfnet.models.source.MAX_FILE_BYTES", 10)
    (tmp_path / "model.onnx").write_bytes(bytes(11))
    with pytest.raises(ModelError, match="at most 2 GiB"):
        open_model(tmp_path / "model.onnx")


def test_a_model_elsewhere_than_on_the_cpu_is_refused() -> None:
    with pytest.raises(ModelError, match=r"on the CPU, got one on meta; give model\.cpu\(\)"):
        open_model(nn.Linear(4, 3, device="meta"))


def test_a_module_of_torch_export_is_asked_for_as_a_file() -> None:
    module = torch.export.export(nn.Linear(4, 3).eval(), (torch.zeros(2, 4),)).module()
    with pytest.raises(ModelError, match=r"save the program with torch\.export\.save"):
        open_model(module)


def test_a_model_whose_weights_are_not_there_yet_is_refused() -> None:
    with pytest.raises(ModelError, match="lazy"):
        open_model(nn.LazyLinear(3))


@pytest.mark.parametrize("kind", [Depthwise, Attention])
@pytest.mark.parametrize("free", [True, False])
def test_an_exported_program_is_a_module_with_gradients(
    tmp_path: Path, kind: type[nn.Module], free: bool
) -> None:
    network, path = torch_network(kind), tmp_path / "model.pt2"
    path.write_bytes(exported_bytes(network, free=free))
    model = open_model(str(path))
    assert (model.kind, model.title, model.input_dtype) == ("exported", "model.pt2", "float32")
    assert model.input_shape == (None if free else 2, 3, 8, 8)
    assert model.identity == sha256_hex(path.read_bytes())
    samples = torch.rand(2, 3, 8, 8, requires_grad=True)
    assert model.module.eval() is model.module.train() is model.module
    torch.testing.assert_close(model.module(samples), network(samples))
    model.module(samples).square().sum().backward()
    assert bool(samples.grad is not None and samples.grad.any())


class Dropping(nn.Module):
    def __init__(self, drop: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x).flatten(1)


def attending(x: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5)


@pytest.mark.parametrize(
    ("network", "operator"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "batch_norm"),
        (nn.Sequential(nn.Flatten(), nn.Dropout(0.5)), "dropout"),
        (nn.Sequential(nn.Flatten(), nn.AlphaDropout(0.5)), "alpha_dropout"),
        (nn.Dropout2d(0.5), "feature_dropout"),
        (nn.Sequential(nn.Flatten(), nn.RReLU()), "rrelu"),
        (Dropping(lambda x: functional.dropout(x, training=True)), "dropout"),
        (Dropping(attending), "scaled_dot_product_attention"),
    ],
)
def test_a_program_exported_in_training_mode_is_refused(
    tmp_path: Path, network: nn.Module, operator: str
) -> None:
    (tmp_path / "model.pt2").write_bytes(exported_bytes(network.train()))
    with pytest.raises(ModelError, match=rf"{operator} in training mode .*call model\.eval\(\)"):
        open_model(tmp_path / "model.pt2")


def test_normalisation_by_the_samples_own_moments_is_no_training(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)).eval()
    (tmp_path / "model.pt2").write_bytes(exported_bytes(network))
    assert open_model(tmp_path / "model.pt2").kind == "exported"


def test_an_onnx_file_is_opened_with_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(linear(shape=(1, 4)))
    model = open_model(path)
    assert (model.kind, model.input_shape, model.input_dtype) == ("onnx", (1, 4), "float32")
    assert model.identity == sha256_hex(path.read_bytes())


def beside(path: Path, location: str) -> None:
    """A model whose weights are in another file."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 3), dtype=np.float32), "w")
    model = onnx.load_from_string(graph_bytes([helper.make_node("MatMul", ["x", "w"], ["y"])]))
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    data, weight.raw_data = weight.raw_data, b""
    model.graph.initializer.append(weight)
    path.write_bytes(model.SerializeToString())
    (path.parent / "weights.bin").write_bytes(data)


def test_weights_beside_an_onnx_file_are_found_and_are_of_its_identity(tmp_path: Path) -> None:
    beside(tmp_path / "model.onnx", "weights.bin")
    model = open_model(tmp_path / "model.onnx")
    torch.testing.assert_close(model.module(torch.ones(1, 4)), torch.full((1, 3), 4.0))
    (tmp_path / "weights.bin").write_bytes(np.zeros((4, 3), dtype=np.float32).tobytes())
    assert open_model(tmp_path / "model.onnx").identity != model.identity


@pytest.mark.parametrize("location", ["none.bin", "../weights.bin", "/weights.bin"])
def test_weights_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    beside(tmp_path / "inner" / "model.onnx", location)
    with pytest.raises(ModelError, match="with its weights in it or beside it"):
        open_model(tmp_path / "inner" / "model.onnx")


def test_the_hash_of_a_state_is_of_every_weight_and_buffer() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    network.register_buffer("own", torch.tensor([True, False]), persistent=False)
    network.register_buffer("brief", torch.ones(2, dtype=torch.bfloat16))
    network.register_buffer("none", torch.ones(0))
    network.get_extra_state = lambda: {"text": "x"}  # type: ignore[method-assign]
    hashes = {state_hash(network)}
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.numel():
            with torch.no_grad():
                tensor.view(-1)[0] = 0 if tensor.dtype == torch.bool else 7
            hashes.add(state_hash(network))
    assert len(hashes) == 1 + 4 + 5


@pytest.mark.parametrize(
    "source",
    [
        "http://127.0.0.1:8080",
        "HTTPS://user:secret@host/v2/models/model",
        "grpc://host:8001",
        "https://host/model.onnx",
        "localhost:8080",
        "10.0.0.7:8001/v2",
        Path("http://host:8080"),
    ],
)
def test_an_endpoint_is_refused_with_what_it_can_be_used_for(source: str | Path) -> None:
    with pytest.raises(ModelError) as refused:
        open_model(source)
    assert "no gradient" in str(refused.value)
    assert "obfnet evaluate" in refused.value.remedy
    assert "secret" not in str(refused.value)
