"""A model between samples in [0, 1] and scores, whatever it takes and gives itself."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from obfnet.core.errors import ModelError
from obfnet.core.spec import InputSpec
from obfnet.models.view import ModelView, are_probabilities, scores_of
from obfnet.models.wishes import IMAGENET, Wishes, candidate_wires
from tests.unit.models.hand_made import FREE, Changed

SCORES, OTHER = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[[1.0, 2.0, 0.0]]])


def wire(shape: tuple[int, ...], layout: str, **wishes: Any) -> InputSpec:
    return candidate_wires(FREE, Wishes(**wishes), shape, layout)[0]


@pytest.mark.parametrize(
    "given",
    [
        SCORES,
        (SCORES,),
        [SCORES, OTHER],
        (torch.zeros(1, dtype=torch.int64), SCORES, None),
        {"logits": SCORES, "hidden": torch.zeros(1, 8)},
        OrderedDict(out=SCORES, aux=OTHER),
        {"logits": "none", "scores": SCORES},
    ],
)
def test_the_one_tensor_of_scores_is_found(given: Any) -> None:
    assert scores_of(given) is SCORES


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (OTHER, r"\(1, 1, 3\)"),
        (SCORES[:, :1], r"\(1, 1\)"),
        (SCORES.argmax(1), r"\(1,\)"),
        (SCORES.long(), r"\(1, 3\)"),
        ((SCORES, SCORES), r"\(1, 3\), \(1, 3\)"),
        ({"a": SCORES, "b": SCORES}, r"\(1, 3\), \(1, 3\)"),
        ([{"boxes": SCORES}], "list"),
        ({}, "dict"),
        (None, "NoneType"),
        (np.zeros((1, 3)), "ndarray"),
    ],
)
def test_what_is_not_one_tensor_of_scores_is_refused(given: Any, got: str) -> None:
    with pytest.raises(ModelError, match=rf"one output of scores, \(N, classes\), got {got}; "):
        scores_of(given)


@pytest.mark.parametrize(
    ("scores", "answer"),
    [
        ([[0.25, 0.75], [1.0, 0.0]], True),
        ([[0.25, 0.75], [1.0, 1.0]], False),
        ([[1.5, -0.5]], False),
        ([[float("nan"), 1.0]], False),
    ],
)
def test_probabilities_are_told_from_scores(scores: list[list[float]], answer: bool) -> None:
    assert are_probabilities(torch.tensor(scores)) is answer


def test_probabilities_become_scores_of_the_same_chances() -> None:
    model = Changed(nn.Flatten(), after=lambda x: x.softmax(1))
    view = ModelView(model, wire((1, 2, 2), "CHW"), probabilities=True)
    samples = torch.rand(3, 1, 2, 2, requires_grad=True)
    torch.testing.assert_close(view(samples).softmax(1), view.given(samples))
    saturated = ModelView(
        Changed(nn.Flatten(), after=lambda x: (x > 0.5).float()), view.spec, probabilities=True
    )
    assert bool(torch.isfinite(saturated(samples)).all())


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (wire((3, 4, 5), "CHW", range="0,1"), lambda unit: unit),
        (wire((3, 4, 5), "CHW", range="-1,1"), lambda unit: unit * 2 - 1),
        (wire((4, 5, 3), "HWC", range="0,255"), lambda unit: unit.permute(0, 2, 3, 1) * 255),
        (wire((4, 5, 3), "HWC", dtype="uint8"), lambda unit: (unit.permute(0, 2, 3, 1) * 255).round()),
        (wire((4, 5), "HW", mean=(0.5,), std=(0.25,)), lambda unit: (unit[:, 0] - 0.5) / 0.25),
        (
            wire((3, 4, 5), "CHW", range="imagenet"),
            lambda unit: (
                (unit - torch.tensor(IMAGENET[0])[:, None, None]) / torch.tensor(IMAGENET[1])[:, None, None]
            ),
        ),
    ],
)
def test_the_model_is_given_what_it_takes_with_gradients(
    spec: InputSpec, wanted: Callable[[Tensor], Tensor]
) -> None:
    unit = torch.rand(2, *spec.unit_shape, requires_grad=True)
    found = ModelView(nn.Flatten(), spec)(unit)
    torch.testing.assert_close(found, wanted(unit).flatten(1), atol=3e-4, rtol=0)
    (gradient,) = torch.autograd.grad(found.sum(), unit)
    assert bool((gradient > 0).all())


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_batches_of_one_size_are_filled_and_cut(size: int, count: int) -> None:
    sizes = []

    def seen(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x

    spec = wire((1, 2, 2), "CHW")
    samples = torch.rand(count, 1, 2, 2, requires_grad=True)
    found = ModelView(Changed(nn.Flatten(), before=seen), spec, batch=size)(samples)
    torch.testing.assert_close(found, samples.flatten(1))
    assert set(sizes) == {size}
    found.sum().backward()
    torch.testing.assert_close(samples.grad, torch.ones_like(samples))


def test_what_it_was_given_stays_as_it_is() -> None:
    samples = torch.rand(2, 1, 2, 2)
    before = samples.clone()
    ModelView(Changed(nn.Flatten(), before=lambda x: x.mul_(0)), wire((1, 2, 2), "CHW"))(samples)
    torch.testing.assert_close(samples, before, rtol=0, atol=0)


@pytest.mark.parametrize(("shape", "layout"), [((3, 8, 8), "CHW"), ((8, 8, 3), "HWC"), ((8, 8), "HW")])
def test_smaller_pictures_of_the_same_layout_pass_too(shape: tuple[int, ...], layout: str) -> None:
    class Means(nn.Module):
        def forward(self, samples: Tensor) -> Tensor:
            mean = samples.flatten(1).mean(1)
            return torch.stack([mean, -mean], 1)

    spec = InputSpec(shape=shape, dtype="float32", low=-1.0, high=1.0, layout=layout, preprocessing="none")
    smaller = torch.rand(5, spec.unit_shape[0], 4, 4)
    found = ModelView(Means(), spec)(smaller)
    # As many answers as pictures: training asks about averaged ones.
    torch.testing.assert_close(found[:, 0], 2 * smaller.flatten(1).mean(1) - 1, atol=1e-3, rtol=0)
