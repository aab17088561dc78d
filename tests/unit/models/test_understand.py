"""What a model takes and gives is worked out from raw samples, or the reason and the remedy are given."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import ModelError, UsageError
from obfnet.models.onnx_network import OnnxNetwork
from obfnet.models.source import Model, open_model, state_hash
from obfnet.models.understand import Understood, understand
from obfnet.models.wishes import IMAGENET, Wishes, candidate_wires, low_high, wire_shape
from obfnet.nets.mode import borrowed
from tests.unit.models.archives import exported_bytes
from tests.unit.models.graphs import graph_bytes
from tests.unit.models.hand_made import FREE, NAMES, Changed, Levels, pictures

MEAN, STD = (torch.tensor(one)[:, None, None] for one in IMAGENET)


def understood(
    model: nn.Module | Model,
    *,
    channels: int = 3,
    labelled: bool = True,
    names: tuple[str, ...] = NAMES,
    **wishes: Any,
) -> Understood:
    samples, labels = pictures(channels=channels)
    opened = open_model(model) if isinstance(model, nn.Module) else model
    said = Wishes(**wishes)
    shape, layout = wire_shape(opened, said, of_data=samples.shape[1:])
    return understand(
        opened,
        samples,
        labels if labelled else None,
        said,
        shape=shape,
        layout=layout,
        names=names if labelled else (),
    )


def refusal(model: nn.Module | Model, **rest: Any) -> str:
    with pytest.raises(ModelError) as caught:
        understood(model, **rest)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def integers(x: Tensor) -> Tensor:
    """As a model that says so takes them."""
    if not bool((x == x.round()).all()):
        raise RuntimeError("whole numbers wanted")
    return x / 255


class Normalised(nn.Module):
    """Levels behind a batch norm that does nothing in evaluation mode, and dropout, left in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.levels = nn.BatchNorm2d(3), nn.Dropout(0.5), Levels()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.levels(self.norm(x)))


def in_place(x: Tensor) -> Tensor:
    return x.mul_(2).div_(2)


ACCEPTED: dict[str, tuple[nn.Module, dict[str, Any], str]] = {
    "[0, 1]": (Levels(), {}, "range 0,1"),
    "[0, 255]": (Changed(Levels(), before=lambda x: x / 255), {}, "range 0,255"),
    "[-1, 1]": (Changed(Levels(), before=lambda x: (x + 1) / 2), {}, "range -1,1"),
    "ImageNet's": (Changed(Levels(), before=lambda x: x * STD + MEAN), {}, "range imagenet"),
    "mean and std": (
        Changed(Levels(), before=lambda x: x * 0.3 + 0.4),
        {"mean": (0.4,) * 3, "std": (0.3,) * 3},
        "range mean and std as given",
    ),
    "a range that is said": (
        Changed(Levels(), before=lambda x: (x + 3) / 8),
        {"range": "-3,5"},
        "range -3,5",
    ),
    "uint8": (Changed(Levels(), before=integers), {"dtype": "uint8"}, "takes uint8 CHW 3x8x8, range 0,255"),
    "NHWC": (
        Changed(Levels(), before=lambda x: x.permute(0, 3, 1, 2)),
        {"layout": "HWC"},
        "takes float32 HWC 8x8x3, range 0,1",
    ),
    "grey": (
        Changed(Levels(), before=lambda x: x.unsqueeze(1)),
        {"layout": "HW", "channels": 1},
        "takes float32 HW 8x8, range 0,1",
    ),
    "training mode": (Normalised().train(), {}, "range 0,1"),
    "in place": (Changed(Levels(), before=in_place), {}, "range 0,1"),
    "a tuple": (Changed(Levels(), after=lambda y: (y, y.mean())), {}, "gives scores of 4"),
    "a dict": (Changed(Levels(), after=lambda y: {"hidden": y, "logits": y}), {}, "gives scores of 4"),
    "probabilities": (Changed(Levels(), after=lambda y: y.softmax(1)), {}, "gives probabilities of 4"),
}


@pytest.mark.parametrize(("model", "wishes", "note"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_model_is_understood(model: nn.Module, wishes: dict[str, Any], note: str) -> None:
    before, training = state_hash(model), model.training
    found = understood(model, **wishes)
    assert found.accuracy == 1.0
    assert found.classes == 4
    assert any(note in one for one in found.notes), found.notes
    assert (state_hash(model), model.training) == (before, training)
    samples, labels = pictures(channels=wishes.get("channels", 3))
    assert found.spec.unit_shape == samples.shape[1:]
    with borrowed(model):
        np.testing.assert_array_equal(found.view(torch.from_numpy(samples)).argmax(1).numpy(), labels)


@pytest.mark.parametrize("name", ["[0, 1]", "[0, 255]", "[-1, 1]", "ImageNet's", "probabilities"])
def test_without_labels_the_range_is_what_tells_samples_apart(name: str) -> None:
    model, _, note = ACCEPTED[name]
    found = understood(model, labelled=False)
    assert found.accuracy is None
    assert any(note in one for one in found.notes), found.notes


def constant(y: Tensor) -> Tensor:
    return y * 0 + torch.arange(4.0)


def through_numpy(y: Tensor) -> Tensor:
    return torch.from_numpy(y.numpy())


def on_cuda(x: Tensor) -> Tensor:
    raise RuntimeError("Found no NVIDIA driver, or torch not compiled with CUDA enabled\nmore lines")


def of_noise(x: Tensor) -> Tensor:
    return (x[:, :, :2, :2] - x.mean((1, 2, 3), keepdim=True)) * 8 + 0.5


def of_other_batches(x: Tensor) -> Tensor:
    return x.reshape(1, 3, -1, 8)


class Updating(nn.Module):
    """Batch norm that is in training mode whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = Levels()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("var", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        functional.batch_norm(x, self.mean, self.var, training=True)
        return self.levels(x)


class Counting(nn.Module):
    """A buffer that is another tensor after each batch, and that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = Levels()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + len(x)
        return self.levels(x)


REFUSED: dict[str, tuple[nn.Module, dict[str, Any], str]] = {
    "active dropout": (
        Changed(Levels(), after=lambda y: functional.dropout(y, training=True)),
        {},
        "the same answer to the same sample, got another one each time; switch off dropout",
    ),
    "a batch norm that updates": (
        Updating(),
        {},
        r"stay as they are, got a model that changes them when it runs; call eval\(\)",
    ),
    "a buffer that is replaced": (Counting(), {}, "got a model that changes them when it runs"),
    "a constant": (Changed(Levels(), after=constant), {}, "one answer to all, with range .*gradient of zero"),
    "argmax": (Changed(Levels(), after=lambda y: y.argmax(1)), {}, r"one output of scores.*got \(4,\)"),
    "round": (
        Changed(Levels(), before=torch.round),
        {},
        "a model with gradients, got a gradient of zero everywhere; give a differentiable form",
    ),
    "detach": (
        Changed(Levels(), after=torch.detach),
        {},
        "a model with gradients, got RuntimeError on the way back; give a differentiable form",
    ),
    "numpy": (Changed(Levels(), after=through_numpy), {}, "gradients, got RuntimeError on the way back"),
    "CUDA": (Changed(Levels(), before=on_cuda), {}, "NVIDIA driver.*CUDA enabled; give a model on the CPU$"),
    "a fixed batch": (
        Changed(Levels(), before=of_other_batches),
        {},
        "scores of every sample, got 1 for 4; give a model that takes batches of any size",
    ),
    "a detector": (
        Changed(Levels(), after=lambda y: (y[:, None, :].expand(-1, 9, -1), y[:, None])),
        {},
        r"one output of scores, \(N, classes\), got \(4, 9, 4\), \(4, 1, 4\); give a classifier",
    ),
    "NaN": (Changed(Levels(), after=lambda y: y * float("nan")), {}, "finite scores, got NaN or infinity"),
    "another number of classes": (
        Levels(6),
        {},
        "data of the model's 6 classes, got 4 classes; give --classes",
    ),
    "another order": (
        Changed(Levels(), after=lambda y: y.flip(1)),
        {},
        "labels in another order: give --classes day,dawn,dusk,night$",
    ),
    "a wrong range": (
        Changed(Levels(), before=lambda x: x / 255),
        {"range": "0,1"},
        "different answers to different samples, got one answer to all, with range 0,1; give --range",
    ),
    "another task": (
        Changed(Levels(), before=of_noise),
        {},
        r"right on raw samples, got \d+% with .* \(chance 25%\); give --range",
    ),
    "another shape": (
        Changed(nn.Flatten(), after=nn.Linear(7, 4)),
        {},
        r"takes samples \(N, 3, 8, 8\), got RuntimeError: mat1.*; give --shape and --layout",
    ),
    "the wrong layout": (
        Changed(Levels(), before=lambda x: x.permute(0, 3, 1, 2).expand(-1, 3, 8, 8)),
        {},
        "; give --shape and --layout",
    ),
}


@pytest.mark.parametrize(("model", "wishes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_cannot_be_protected_is_refused(
    model: nn.Module, wishes: dict[str, Any], message: str
) -> None:
    before = state_hash(model)
    said = refusal(model, **wishes)
    for part in message.split(".*gradient of"):
        assert re.search(part, said), said
    assert state_hash(model) == before


def test_a_model_of_another_precision_is_told_so() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).double()
    assert refusal(model).endswith("give a model in float32: model.float()")


def test_several_problems_are_all_listed() -> None:
    class Everything(Counting):
        def forward(self, x: Tensor) -> Tensor:
            return functional.dropout(super().forward(x), training=True).detach()

    said = refusal(Everything(), names=NAMES[:3])
    assert "Everything, got 4 problems: " in said
    for part in (
        "another one each time (switch off dropout",
        "RuntimeError on the way back (give a differentiable form",
        "got 3 classes (give --classes",
        "a model that changes them when it runs (call eval() in it)",
    ):
        assert part in said


def test_without_labels_a_model_that_fits_two_ranges_is_a_matter_of_asking() -> None:
    class Steep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            level = x[:, 0].flatten(1).mean(1, keepdim=True)
            return torch.cat([(level * 7).sin(), (level * 9).cos(), (level * 5).sin()], 1) * 20

    assert re.search(
        r"one range of values, got .* and .*, which both .*; give --range", refusal(Steep(), labelled=False)
    )
    assert understood(Steep(), labelled=False, range="0,1").spec.is_unit


def test_a_range_that_the_model_refuses_is_left_out() -> None:
    def bounded(x: Tensor) -> Tensor:
        if float(x.detach().max()) > 1:
            raise ValueError("pixels in [0, 1], please")
        return x

    notes = understood(Changed(Levels(), before=bounded)).notes
    assert any("0,1: 100.0%" in note and "0,255" not in note for note in notes)


def exported(model: nn.Module, folder: Any, **rest: Any) -> Model:
    path = folder / "model.pt2"
    path.write_bytes(exported_bytes(model.eval(), **rest))
    return open_model(path)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_a_program_of_one_batch_size_is_given_that(tmp_path: Any, size: int) -> None:
    found = understood(exported(Levels(), tmp_path, shape=(size, 3, 8, 8), free=False))
    assert found.view.batch == size
    assert f"takes batches of {size} only" in found.notes
    assert found.accuracy == 1.0


def test_a_program_of_any_batch_size_is_given_any(tmp_path: Any) -> None:
    assert understood(exported(Levels(), tmp_path, shape=(2, 3, 8, 8))).view.batch is None


def onnx_levels(batch: int, *, folded: bool) -> Model:
    """The mean of the picture by its distance from each level; its file declares a batch size."""
    shaped = np.array([batch if folded else -1, 192])
    nodes = [
        helper.make_node("Reshape", ["x", "shaped"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["level"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["level", "centres"], ["off"]),
        helper.make_node("Mul", ["off", "off"], ["square"]),
        helper.make_node("Mul", ["square", "sharp"], ["y"]),
    ]
    weights = {
        "shaped": shaped,
        "centres": np.array([[0.125, 0.375, 0.625, 0.875]], dtype=np.float32),
        "sharp": np.array(-200, dtype=np.float32),
    }
    network = OnnxNetwork(
        graph_bytes(nodes, shape=(batch, 3, 8, 8), dtype=TensorProto.FLOAT, weights=weights)
    )
    return dataclasses.replace(
        FREE, module=network, kind="onnx", input_shape=network.input_shape, input_dtype=network.input_dtype
    )


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("folded", [True, False])
def test_a_batch_size_that_a_file_only_declares_is_tried(size: int, folded: bool) -> None:
    found = understood(onnx_levels(size, folded=folded))
    assert found.view.batch == (size if folded else None)
    assert found.accuracy == 1.0


def test_a_model_that_mixes_the_samples_of_a_batch_is_given_its_own_size() -> None:
    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Levels()(x - x.mean(0, keepdim=True) + 0.5) if len(x) > 1 else Levels()(x)

    model = dataclasses.replace(FREE, module=Mixing(), input_shape=(1, 3, 8, 8))
    assert understood(model).view.batch == 1


@pytest.mark.parametrize("text", ["0", "1,0", "0,0", "a,b", "0,1,2", "nan,1", "0,inf", ""])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        low_high(text)


@pytest.mark.parametrize(
    "wishes",
    [
        {"layout": "WHC"},
        {"range": "1,0"},
        {"range": "0,1", "mean": (0.5,), "std": (0.5,)},
        {"mean": (0.5,)},
        {"std": (0.5,)},
        {"mean": (0.5,), "std": (0.0,)},
        {"dtype": "float64"},
        {"shape": 5},
        {"shape": "3,8,8"},
        {"shape": np.array([3, 8, 8])},
        {"mean": 0.5, "std": 0.5},
    ],
)
def test_impossible_wishes_are_refused(wishes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Wishes(**wishes)


def test_wishes_in_lists_are_those_in_tuples() -> None:
    lists, tuples = (Wishes(shape=of((3, 8, 8)), mean=of((0.5,)), std=of((0.5,))) for of in (list, tuple))  # type: ignore[arg-type]
    assert lists == tuples
    assert hash(lists) == hash(tuples)
    assert Wishes(shape=None, mean=None, std=None) == Wishes()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"range": "imagenet"}, "3 channels for --range imagenet, got 1"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "each of 1 channels"),
        ({"mean": (1.5,), "std": (0.5,)}, "each of 1 channels"),
        ({"dtype": "uint8", "range": "-1,1"}, "no range for uint8"),
        ({"dtype": "uint8", "mean": (0.5,), "std": (0.5,)}, "no range for uint8"),
    ],
)
def test_wishes_that_do_not_fit_the_samples_are_refused(wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        candidate_wires(FREE, Wishes(**wishes), (1, 8, 8), "CHW")


@pytest.mark.parametrize(
    ("said", "wishes", "wanted"),
    [
        (None, {}, ((3, 8, 9), "CHW")),
        (None, {"layout": "HWC"}, ((8, 9, 3), "HWC")),
        (None, {"layout": "HW"}, ((8, 9), "HW")),
        (None, {"shape": (3, 5, 6)}, ((3, 5, 6), "CHW")),
        ((1, 3, 5, 6), {}, ((3, 5, 6), "CHW")),
        ((None, 5, 6, 3), {}, ((5, 6, 3), "HWC")),
        ((None, 1, 5, 6), {}, ((1, 5, 6), "CHW")),
        ((None, 5, 6), {}, ((5, 6), "HW")),
        ((None, None, None, None), {}, ((3, 8, 9), "CHW")),
        ((None, None, None, 3), {}, ((8, 9, 3), "HWC")),
        ((None, 5, None), {}, ((5, 9), "HW")),
    ],
)
def test_the_shape_is_the_users_or_the_models_or_the_datas(
    said: Any, wishes: dict[str, Any], wanted: Any
) -> None:
    model = dataclasses.replace(FREE, input_shape=said)
    assert wire_shape(model, Wishes(**wishes), of_data=(3, 8, 9)) == wanted


@pytest.mark.parametrize(
    ("said", "layout", "error"),
    [
        ((None, 10), "", ModelError),
        ((None, 3, 4, 5, 6), "", ModelError),
        ((None, 3, 5, 6), "HW", UsageError),
        ((None, 5, 6), "CHW", UsageError),
    ],
)
def test_what_is_no_picture_is_refused(said: Any, layout: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        wire_shape(dataclasses.replace(FREE, input_shape=said), Wishes(layout=layout), of_data=(3, 8, 9))


@pytest.mark.parametrize(
    ("dtype", "channels", "wanted"),
    [("float32", 3, 4), ("float32", 1, 3), ("uint8", 3, 1), (None, 1, 3)],
)
def test_every_known_range_is_a_candidate(dtype: Any, channels: int, wanted: int) -> None:
    model = dataclasses.replace(FREE, input_dtype=dtype)
    specs = candidate_wires(model, Wishes(), (channels, 8, 8), "CHW")
    assert len(specs) == wanted
    assert isinstance(specs[0].mean, tuple)
    assert len({(spec.low, spec.high, spec.mean) for spec in specs}) == wanted
