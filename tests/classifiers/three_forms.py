"""One classifier of digits in three forms: a torch module, a program of `torch.export`, an ONNX file."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from obfnet.models.source import open_model

Forms = dict[str, nn.Module | Path]


def forms_of(network: nn.Module, folder: Path) -> Forms:
    """The three, as `protect` takes them.

    Args:
        network: Takes `(N, 1, 8, 8)`, in evaluation mode.
        folder: Where the two files go.
    """
    program, file = folder / "classifier.pt2", folder / "classifier.onnx"
    example, free = (torch.zeros(2, 1, 8, 8),), ({0: torch.export.Dim("N", min=1)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network, example, dynamic_shapes=free), program)
        torch.onnx.export(network, example, file, dynamo=True, dynamic_shapes=free, verbose=False)
    return {"nn.Module": network, "torch.export": program, "ONNX": file}


def input_gradient(
    source: nn.Module | Path, wire: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The gradient of the right label's score, by sample.

    Args:
        source: One of `forms_of`.
        wire: Samples as the classifier takes them.
        labels: The right ones, `(N,)`.
    """
    given = torch.from_numpy(wire.copy()).requires_grad_()
    scores = open_model(source).module(given)
    scores.gather(1, torch.from_numpy(labels.copy())[:, None]).sum().backward()
    assert given.grad is not None
    return given.grad.numpy()


def greatest_difference(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    """Of the worst sample, relative to the greatest value of its own gradient."""
    rows = (len(wanted), -1)
    apart = np.abs(found - wanted).reshape(rows).max(1)
    return float((apart / np.abs(wanted).reshape(rows).max(1)).max())
