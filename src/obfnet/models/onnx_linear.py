"""Operators of `ai.onnx.ml` that are linear, as exporters of scikit-learn write them.

Those of trees and of support vectors are left out, and so refused by name.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from obfnet.models.onnx_node import Node

DOMAIN: Final = "ai.onnx.ml"
_TRANSFORMS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "NONE": lambda scores: scores,
    "LOGISTIC": torch.sigmoid,
    "SOFTMAX": lambda scores: scores.softmax(1),
}
_ORDERS: Final[dict[str, int]] = {"L1": 1, "L2": 2}


def unsupported(node: Node) -> str:
    """How a node of this module is used in a way that is not done here; empty if it is not, or is no such."""
    if node.kind == "Normalizer" and (norm := node.get("norm", "MAX")) not in _ORDERS:
        return f"norm {norm!r}"
    if node.kind != "LinearClassifier":
        return ""
    if (transform := node.get("post_transform", "NONE")) not in _TRANSFORMS:
        return f"post_transform {transform!r}"
    return "one score for two classes" if len(node.get("intercepts", [])) < 2 else ""


def _scale(node: Node, value: Tensor) -> Tensor:
    offset, scale = (value.new_tensor(node.needed(name)) for name in ("offset", "scale"))
    return (value - offset) * scale


def _normalise(node: Node, value: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(value, _ORDERS[node.needed("norm")], dim=-1, keepdim=True)
    return value / torch.where(length == 0, 1.0, length)


def _classify(node: Node, value: Tensor) -> tuple[Tensor | None, Tensor]:
    intercepts = value.new_tensor(node.needed("intercepts"))
    weights = value.new_tensor(node.needed("coefficients")).reshape(len(intercepts), -1)
    scores = value @ weights.mT + intercepts
    # Labels that are texts are no numbers; what asks for them fails.
    numbers = node.get("classlabels_ints", None)
    labels = None if numbers is None else torch.tensor(numbers, device=value.device)[scores.argmax(1)]
    return labels, _TRANSFORMS[node.get("post_transform", "NONE")](scores)


OPERATORS: Final[dict[str, Callable[..., Any]]] = {
    "LinearClassifier": _classify,
    "Normalizer": _normalise,
    "Scaler": _scale,
}
