"""Exported bytes: the same for the same network, with a free batch axis and nothing of the machine."""

import getpass
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from obfnet.core.spec import InputSpec
from obfnet.export import inference_onnx, obfuscation_onnx
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES

SHAPE = (1, 8, 8)
FLOAT = InputSpec(shape=SHAPE, dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="none")
BYTES = InputSpec(shape=SHAPE, dtype="uint8", low=0.0, high=255.0, layout="CHW", preprocessing="none")
PROGRAM = """
import hashlib, torch
from obfnet.core.spec import InputSpec
from obfnet.export import inference_onnx
from obfnet.nets import INFERENCE_ARCHITECTURES
spec = InputSpec(shape=(1, 8, 8), dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="none")
torch.manual_seed(7)
print(hashlib.sha256(inference_onnx(INFERENCE_ARCHITECTURES.get("cnn")((1, 8, 8), 10), spec)).hexdigest())
"""


def inference(name: str = "cnn") -> nn.Module:
    torch.manual_seed(7)
    return INFERENCE_ARCHITECTURES.get(name)(SHAPE, 10)


def obfuscation(name: str = "cnn") -> nn.Module:
    torch.manual_seed(7)
    return OBFUSCATION_ARCHITECTURES.get(name)(SHAPE, 12)


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    return {
        "I": inference_onnx(inference(), FLOAT),
        "I uint8": inference_onnx(inference("mlp"), BYTES),
        "O": obfuscation_onnx(obfuscation(), FLOAT),
        "O uint8": obfuscation_onnx(obfuscation("mlp"), BYTES),
    }


def test_the_same_network_gives_the_same_bytes(graphs: dict[str, bytes]) -> None:
    assert inference_onnx(inference(), FLOAT) == graphs["I"]
    assert obfuscation_onnx(obfuscation("mlp"), BYTES) == graphs["O uint8"]


def test_another_process_in_another_folder_gives_the_same_bytes(
    graphs: dict[str, bytes], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip() == hashlib.sha256(graphs["I"]).hexdigest()
    assert done.stderr == ""


def test_other_weights_give_other_bytes(graphs: dict[str, bytes]) -> None:
    torch.manual_seed(8)
    assert inference_onnx(INFERENCE_ARCHITECTURES.get("mlp")(SHAPE, 10), BYTES) != graphs["I uint8"]


@pytest.mark.parametrize("name", ["I", "I uint8", "O", "O uint8"])
def test_nothing_of_the_machine_is_in_the_bytes(graphs: dict[str, bytes], name: str) -> None:
    here = Path.cwd()
    traces = [
        str(here),
        str(Path.home()) + "/",
        str(Path(sys.prefix)),
        getpass.getuser() + "@",
        "site-packages",
        "pkg.torch",
        "obfnet/",
        ".py",
        "torch.nn",
        "stack_trace",
    ]
    assert [trace for trace in traces if trace.encode() in graphs[name]] == []


@pytest.mark.parametrize(
    ("name", "output", "shape"),
    [("I", "scores", [10]), ("I uint8", "scores", [10]), ("O", "obfuscated", [1, 8, 8]),
     ("O uint8", "obfuscated", [1, 8, 8])],
)  # fmt: skip
def test_the_graph_has_one_input_one_output_and_a_free_batch_axis(
    graphs: dict[str, bytes], name: str, output: str, shape: list[int]
) -> None:
    graph = onnx.load_from_string(graphs[name]).graph
    assert [(value.name) for value in (*graph.input, *graph.output)] == ["input", output]
    wire = onnx.TensorProto.UINT8 if "uint8" in name else onnx.TensorProto.FLOAT
    types = [value.type.tensor_type for value in (*graph.input, *graph.output)]
    assert [kind.elem_type for kind in types] == [wire, onnx.TensorProto.FLOAT if name[0] == "I" else wire]
    for kind, sizes in zip(types, (list(SHAPE), shape), strict=True):
        assert kind.shape.dim[0].dim_param
        assert not kind.shape.dim[0].HasField("dim_value")
        assert [size.dim_value for size in kind.shape.dim[1:]] == sizes


@pytest.mark.parametrize("name", ["I", "I uint8", "O", "O uint8"])
def test_the_graph_is_plain_onnx(graphs: dict[str, bytes], name: str) -> None:
    model = onnx.load_from_string(graphs[name])
    assert {opset.domain for opset in model.opset_import} == {""}
    assert not model.functions
    assert not model.metadata_props
    assert not any(node.domain or node.doc_string or node.metadata_props for node in model.graph.node)
    assert "Dropout" not in {node.op_type for node in model.graph.node}


@pytest.mark.parametrize(
    ("export", "network"), [(inference_onnx, inference("mlp")), (obfuscation_onnx, obfuscation("mlp"))]
)
def test_export_leaves_the_networks_mode(
    export: Callable[[nn.Module, InputSpec], bytes], network: nn.Module
) -> None:
    network.train()
    export(network, FLOAT)
    assert all(module.training for module in network.modules())
