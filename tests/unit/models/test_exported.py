"""A `.pt2` file is read, and nothing that it brings is unpickled, imported or run."""

import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree

from obfnet.core.errors import ModelError
from obfnet.models.exported import read_exported
from tests.unit.models.archives import (
    CONSTANTS,
    MODEL,
    SAMPLES,
    WEIGHTS,
    Document,
    exported_bytes,
    packed,
    parts_of,
    with_document,
    with_parts,
)
from tests.unit.models.test_onnx_network import Attention, Depthwise, Residual, torch_network


class Structured(nn.Module):
    """A dict of results, a constant, a text for an operator and an infinite number."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = torch.arange(3.0)
        self.register_buffer("offset", torch.ones(3), persistent=False)
        self.encoder = nn.TransformerEncoderLayer(3, 1, 4, batch_first=True)

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear").flatten(2).transpose(1, 2)
        x = self.encoder(x).masked_fill(x > 1e9, float("-inf")) * self.constant + self.offset
        return {"logits": torch.einsum("nlc->nc", x), "more": (x, [x.mean()])}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.constant, self.head = torch.arange(5.0), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).reshape(x.shape[0], 4)) + self.constant


@pytest.fixture(scope="module")
def good() -> bytes:
    return exported_bytes(torch_network(Small))


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A folder that hostile code makes, if it is run."""
    return tmp_path / "ran"


class Touch:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.mark,)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("kind", [Residual, Depthwise, Attention, Structured, Small])
def test_an_honest_program_gives_what_the_network_gives(kind: type[nn.Module], free: bool) -> None:
    network = torch_network(kind)
    module = read_exported(exported_bytes(network, free=free)).module()
    samples = torch.rand(5 if free else 2, 3, 8, 8)
    found, wanted = (_pytree.tree_leaves(one(samples)) for one in (module, network))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_sizes_that_are_free_may_be_computed_with() -> None:
    network = torch_network(Residual)
    free = ({0: torch.export.Dim("N"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    program = torch.export.export(network, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=free)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.export, "export", lambda *_, **__: program)
        data = exported_bytes(network)
    samples = torch.rand(3, 3, 12, 10)
    torch.testing.assert_close(read_exported(data).module()(samples), network(samples))


def test_sample_inputs_are_left_out_and_not_unpickled(good: bytes, mark: Path) -> None:
    program = read_exported(with_parts(good, {SAMPLES: pickle.dumps(Touch(mark)), "extra/note": b"x"}))
    assert not program.example_inputs
    assert program.module()(torch.rand(3, 3, 8, 8)).shape == (3, 5)
    assert not mark.exists()


def test_guards_and_sources_are_left_out(good: bytes, mark: Path) -> None:
    def change(document: Document) -> None:
        document["guards_code"] = [f"__import__('os').mkdir({str(mark)!r})"]
        for node in document["graph_module"]["graph"]["nodes"]:
            node["metadata"] = {"stack_trace": "x\n__import__('os')", "source_fn_stack": "a,torch.hub.load"}
        document["graph_module"]["module_call_graph"].append({"fqn": "x y", "signature": None})
        document["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = ["x=print('!')"]

    program = read_exported(with_document(good, change))
    assert program.module()(torch.rand(1, 3, 8, 8)).shape == (1, 5)
    assert not mark.exists()


@pytest.mark.parametrize("part", [WEIGHTS, CONSTANTS])
@pytest.mark.parametrize("path", ["weight_0", "tensor_0", "custom_obj_0", "opaque_obj_0"])
def test_a_pickled_part_is_refused(good: bytes, mark: Path, part: str, path: str) -> None:
    def change(document: Document) -> None:
        name = next(iter(document["config"]))
        document["config"][name] |= {"use_pickle": True, "path_name": path}

    folder = part.rpartition("/")[0]
    for data in (good, with_parts(good, {f"{folder}/{path}": pickle.dumps(Touch(mark))})):
        with pytest.raises(ModelError, match=r"pickled part|not known"):
            read_exported(with_document(data, change, part=part))
    assert not mark.exists()


@pytest.mark.parametrize("path", ["custom_obj_0", "opaque_obj_0", "../weight_0", "model.pt", ["weight_0"]])
def test_a_part_by_another_path_is_refused(good: bytes, path: Any) -> None:
    def change(document: Document) -> None:
        next(iter(document["config"].values()))["path_name"] = path

    with pytest.raises(ModelError):
        read_exported(with_document(good, change, part=CONSTANTS))


@pytest.mark.parametrize(
    "name",
    [
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "data/weights/custom_obj_0",
        "data/aotinductor/model/kernel.so",
        "models/other.json",
        "version",
        "serialized_state_dict.pt",
        "",
    ],
)
def test_a_part_that_is_not_known_is_refused(good: bytes, mark: Path, name: str) -> None:
    with pytest.raises(ModelError, match="not known"):
        read_exported(with_parts(good, {name: pickle.dumps(Touch(mark))}))
    assert not mark.exists()


def first_node(document: Document) -> Document:
    node: Document = document["graph_module"]["graph"]["nodes"][0]
    return node


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.ops.higher_order.cond",
        "torch.ops.prims.add.default",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.aten._print.default",
        "torch.ops.aten.no_such_operator.default",
        "torch.ops.aten.relu",
        "torch.ops.aten.relu.no_such_overload",
        "torch.ops.aten.relu.py_impl",
        "torch.ops.aten.__setattr__.default",
        "torch.ops.aten.__class__.__init__",
        "torch.ops.aten.relu.default.__call__",
        "torch._inductor.async_compile.AsyncCompile",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "_operator.call",
        "_operator.setitem",
        "math.sqrt",
        "math.x",
        "builtins.eval",
        "#ext:x",
        "",
    ],
)
def test_an_operator_outside_of_aten_is_refused(good: bytes, target: str) -> None:
    with pytest.raises(ModelError, match="operator"):
        read_exported(with_document(good, lambda document: first_node(document).update(target=target)))


EXPRESSIONS = [
    "__import__('os').mkdir('{mark}')",
    "exec('1')",
    "print(1)",
    "Symbol('s1').__class__",
    "Symbol('__import__')",
    "Symbol('s1', positive=print(1))",
    "eSymbol('1')",
    "s77.func",
    "s77[0]",
    "lambda: 1",
    "ｅｖａｌ(s77)",
    "Pow(Integer(9), Pow(Integer(9), Integer(9)))",
    "9**9**9**9",
    "Pow(Pow(Pow(Pow(Pow(Pow(Pow(9, 4), 4), 4), 4), 4), 4), 4)",
    "Pow(s77)",
    "(" * 5000,
    "s77 +",
    "",
    ["__import__('os').mkdir('{mark}')"],
    {"s77": "__import__('os').mkdir('{mark}')"},
    7,
    None,
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_shape_expression_that_is_code_is_refused(good: bytes, mark: Path, text: Any) -> None:
    text = json.loads(json.dumps(text).replace("{mark}", str(mark)))

    def change(document: Document) -> None:
        values = document["graph_module"]["graph"]["tensor_values"]
        sizes = next(one["sizes"] for one in values.values() if "as_expr" in (one["sizes"] or [{}])[0])
        sizes[0]["as_expr"]["expr_str"] = text

    with pytest.raises(ModelError):
        read_exported(with_document(good, change))
    assert not mark.exists()


CODE = "x);__import__('os').mkdir('ran')#"


def rename(document: Document, old: str, new: str) -> Document:
    renamed: Document = json.loads(json.dumps(document).replace(json.dumps(old), json.dumps(new)))
    return renamed


def of_texts(key: str, value: Any) -> Callable[[Document], None]:
    """Another text in the first field of this name."""

    def change(document: Document) -> None:
        waiting: list[Any] = [document["graph_module"]["graph"], document["graph_module"]["signature"]]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                if key in one:
                    one[key] = value
                    return
                waiting += one.values()
            elif isinstance(one, list):
                waiting += one
        raise AssertionError(key)

    return change


def argument(value: Document) -> Callable[[Document], None]:
    return lambda document: first_node(document)["inputs"][0].update(arg=value)


def root_signature(**changes: Any) -> Callable[[Document], None]:
    return lambda document: document["graph_module"]["module_call_graph"][0]["signature"].update(changes)


def named_by_an_enum(module: str) -> str:
    """A result's structure whose keys torch would get by importing a module."""
    context = json.dumps([{"__enum__": True, "fqn": f"{module}:x", "name": "x"}])
    leaf = {"type": None, "context": None, "children_spec": []}
    return json.dumps([1, {"type": "builtins.dict", "context": context, "children_spec": [leaf]}])


def of_type(kind: str, context: Any = "null") -> str:
    return json.dumps([1, {"type": kind, "context": context, "children_spec": []}])


BY_NAME = (
    '[1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": "builtins.tuple",'
    ' "context": "null", "children_spec": []}, {"type": "builtins.dict", "context": "[\\"x=print(1)\\"]",'
    ' "children_spec": [{"type": null, "context": null, "children_spec": []}]}]}]'
)
HOSTILE: dict[str, Callable[[Document], None]] = {
    "a node's name": lambda document: first_node(document).update(name=CODE),
    "an attribute for a name": lambda document: first_node(document).update(name="torch.load"),
    "a tensor's name": of_texts("as_tensor", {"name": CODE}),
    "a parameter's name": of_texts("parameter_name", f'a") or print("!") or ("{CODE}'),
    "a constant's name": of_texts("tensor_constant_name", f'a") or print("!") or ("{CODE}'),
    "the name of a size": argument({"as_sym_int": {"as_name": CODE}}),
    "an operator as an argument": argument({"as_operator": "torch.load"}),
    "a graph as an argument": argument({"as_graph": {"name": "g", "graph": {}}}),
    "an object as an argument": argument({"as_custom_obj": {"name": "o", "class_fqn": "x"}}),
    "a table as an argument": argument({"as_string_to_argument": {CODE: {"as_int": 1}}}),
    "a text for a number": argument({"as_int": CODE}),
    "a text for a float": argument({"as_float": "1.5"}),
    "texts for numbers": argument({"as_ints": [1, CODE]}),
    "a hint that is a text": of_texts("hint", {"as_int": CODE}),
    "a range that is a text": lambda document: document.update(
        range_constraints={"s77": {"min_val": CODE, "max_val": None}}
    ),
    "a symbol's range of an odd name": lambda document: document.update(
        range_constraints={CODE: {"min_val": 0, "max_val": None}}
    ),
    "an odd verifier": lambda document: document.update(verifiers=["os.system"]),
    "a value of an odd name": lambda document: document["graph_module"]["graph"]["tensor_values"].update(
        {CODE: next(iter(document["graph_module"]["graph"]["tensor_values"].values()))}
    ),
    "an input that is a text": lambda document: document["graph_module"]["graph"]["inputs"].append(
        {"as_string": "x' or print(1) or '"}
    ),
    "an input by its name": root_signature(in_spec=BY_NAME),
    "inputs of no form": root_signature(in_spec="x"),
    "results named by an enum": root_signature(out_spec=named_by_an_enum("antigravity")),
    "results of a factory": root_signature(
        out_spec=of_type("collections.defaultdict", ["antigravity", "x", "[]"])
    ),
    "results of a class": root_signature(out_spec=of_type("collections.namedtuple", "antigravity.x")),
    "results of an older protocol": root_signature(out_spec="[0, {}]"),
    "results nested without end": root_signature(out_spec="[" * 100_000),
    "no call": lambda document: document["graph_module"].update(module_call_graph=[]),
    "no graph": lambda document: document.pop("graph_module"),
    "a graph that is a list": lambda document: document.update(graph_module=[]),
    "nodes without operators": lambda document: first_node(document).pop("target"),
    "a node that is a text": lambda document: document["graph_module"]["graph"].update(nodes=["x"]),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_program_is_refused_before_torch_sees_it(
    good: bytes, change: Callable[[Document], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("torch was given it"))
    with pytest.raises(ModelError):
        read_exported(with_document(good, change))
    assert "antigravity" not in sys.modules
    assert list(tmp_path.iterdir()) == []


def test_a_weight_whose_name_is_code_is_refused_in_both_places(good: bytes) -> None:
    name = 'a") or print("!") or ("'
    parts = parts_of(good)
    changed = {
        part: json.dumps(rename(json.loads(parts[part]), "head.weight", name)).encode()
        for part in (MODEL, WEIGHTS)
    }
    with pytest.raises(ModelError, match="odd"):
        read_exported(with_parts(good, changed))


@pytest.mark.parametrize("part", [MODEL, WEIGHTS])
def test_a_program_on_another_device_is_refused(good: bytes, part: str) -> None:
    data = with_parts(good, {part: parts_of(good)[part].replace(b'"cpu"', b'"cuda"')})
    with pytest.raises(ModelError, match=r"on the CPU, got one on 'cuda'; call model\.cpu\(\)"):
        read_exported(data)


@pytest.mark.parametrize(
    ("sizes", "strides"), [([10**7, 10**7], [0, 0]), ([2**32], [0]), ([3, 10**6], [1, 1]), ([-1], [1])]
)
def test_a_weight_larger_than_its_bytes_is_refused(good: bytes, sizes: list[int], strides: list[int]) -> None:
    def change(document: Document) -> None:
        meta = document["config"]["head.bias"]["tensor_meta"]
        meta["sizes"], meta["strides"] = ([{"as_int": one} for one in part] for part in (sizes, strides))

    with pytest.raises(ModelError):
        read_exported(with_document(good, change, part=WEIGHTS))


def named(good: bytes, *, root: str = "archive", first_root: str = "") -> list[tuple[str, bytes]]:
    named = [(f"{root}/{name}", content) for name, content in parts_of(good).items()]
    return [(first_root + named[0][0].removeprefix(root), named[0][1]), *named[1:]] if first_root else named


def of_another_schema(document: Document) -> None:
    document["schema_version"] = {"major": 99, "minor": 0}


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "another schema": lambda good: with_document(good, of_another_schema),
    "nodes without inputs": lambda good: with_document(good, lambda one: first_node(one).pop("inputs")),
    "empty": lambda good: b"",
    "text": lambda good: b"no archive",
    "a pickle": lambda good: pickle.dumps({"a": 1}),
    "cut short": lambda good: good[: len(good) // 2],
    "without its end": lambda good: good[:-30],
    "a bit flipped": lambda good: good[:200] + bytes([good[200] ^ 1]) + good[201:],
    "another format": lambda good: with_parts(good, {"archive_format": b"zip"}),
    "another version": lambda good: with_parts(good, {"archive_version": b"99"}),
    "two folders": lambda good: packed(named(good, first_root="other")),
    "no folder": lambda good: packed([(name, content) for name, content in parts_of(good).items()]),
    "a member twice": lambda good: packed([*named(good), ("archive/" + MODEL, b"{}")]),
    "a member twice by two folders": lambda good: packed([*named(good), ("other/" + MODEL, b"{}")]),
    "compressed": lambda good: packed(
        [*named(good), ("archive/data/weights/weight_99", bytes(10**7))], compression=zipfile.ZIP_DEFLATED
    ),
    "no model": lambda good: packed([one for one in named(good) if not one[0].endswith(MODEL)]),
    "no weights": lambda good: packed([one for one in named(good) if "weight_0" not in one[0]]),
    "a model that is no JSON": lambda good: with_parts(good, {MODEL: b"x"}),
    "a model that is a list": lambda good: with_parts(good, {MODEL: b"[]"}),
    "a model nested without end": lambda good: with_parts(good, {MODEL: b"[" * 10**5}),
    "weights that are a list": lambda good: with_parts(good, {WEIGHTS: b'{"config": []}'}),
    "weights of other forms": lambda good: with_parts(good, {WEIGHTS: b'{"config": {"a": {}}}'}),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(good: bytes, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ModelError):
        read_exported(change(good))


def test_a_legacy_file_of_the_older_format_is_refused(mark: Path) -> None:
    hostile = pickle.dumps(Touch(mark))
    parts = [("version", b"8.2"), ("serialized_exported_program.json", b"{}")]
    parts += [(f"serialized_{name}.pt", hostile) for name in ("state_dict", "constants", "example_inputs")]
    with pytest.raises(ModelError):
        read_exported(packed(parts))
    assert not mark.exists()


def test_two_inputs_are_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    two = torch.export.export(Two(), (torch.zeros(2, 3), torch.zeros(2, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.export, "export", lambda *_, **__: two)
        data = exported_bytes(Two())
    with pytest.raises(ModelError, match="a program of one input"):
        read_exported(data)
