"""Makes the classifiers of torch: `PYTHONPATH=src python -m tests.classifiers.make_torch`.

Made with torch 2.13.0, onnxscript 0.7.2 (its exporter of programs) and onnxruntime 1.32.0 (for the quantised
one).
"""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn
from torch.nn import functional

from obfnet import load_case

HERE = Path(__file__).parent
DIGITS = load_case("digits").train


class Residual(nn.Module):
    """A block with a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.block = nn.Sequential(
            nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ELU(), nn.Conv2d(12, 12, 3, padding=1)
        )
        self.head = nn.Linear(12 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.stem(x))
        x = functional.max_pool2d(x + self.block(x), 3, 2, 1)
        return self.head(functional.adaptive_avg_pool2d(x, 2).flatten(1))


class Transformer(nn.Module):
    """Patches of four pixels, a token of the class, and two blocks with attention."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, 2)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(0.1 * torch.randn(1, 17, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


class Recurrent(nn.Module):
    """Rows of a digit one after the other."""

    def __init__(self, kind: type[nn.Module], *, both: bool) -> None:
        super().__init__()
        self.rows = kind(8, 24, batch_first=True, bidirectional=both)
        self.head = nn.Linear(48 if both else 24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(x.squeeze(1))[0].mean(1))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(256, 10),
    )


def separable() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.Hardswish(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Conv2d(16, 24, 1),
        nn.BatchNorm2d(24),
        nn.Hardswish(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(384, 10),
    )


def trained(network: nn.Module, *, low: float = 0.0, high: float = 1.0, epochs: int = 25) -> nn.Module:
    """Trained on digits in [low, high]; how long was fixed beforehand."""
    samples = torch.from_numpy(np.array(DIGITS.samples)) * (high - low) + low
    labels = torch.from_numpy(np.array(DIGITS.labels))
    steps = epochs * -(-len(samples) // 64)
    optimiser = torch.optim.Adam(network.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(samples)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(network(samples[rows]), labels[rows]).backward()
            optimiser.step()
            rate.step()
    return network.eval()


def exported(network: nn.Module, name: str, *, dynamo: bool, opset: int) -> None:
    """By the exporter of programs, or by the older one of traces."""
    free = {"dynamic_shapes": ({0: torch.export.Dim("N", min=1)},)} if dynamo else {}
    traced = {} if dynamo else {"input_names": ["x"], "dynamic_axes": {"x": {0: "N"}}}
    torch.onnx.export(
        network,
        (torch.zeros(2, 1, 8, 8),),
        HERE / f"{name}.onnx",
        dynamo=dynamo,
        opset_version=opset,
        external_data=False,
        **free,
        **traced,
    )
    # The exporter notes for every node which lines of which file made it.
    model = onnx.load(HERE / f"{name}.onnx")
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.save(model, HERE / f"{name}.onnx")


class Samples(CalibrationDataReader):
    """Some training samples, from which ranges are taken."""

    def __init__(self) -> None:
        self.parts: Iterator[dict[str, np.ndarray]] = iter(
            [{"x": DIGITS.samples[start : start + 50]} for start in range(0, 200, 50)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.parts, None)


def quantised(network: nn.Module, name: str) -> None:
    """Eight bits, with the nodes that quantise between the others, as ONNX Runtime's tool leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        exported(network, name, dynamo=False, opset=17)
        plain = (HERE / f"{name}.onnx").rename(Path(folder) / "plain.onnx")
        quantize_static(
            plain,
            HERE / f"{name}.onnx",
            Samples(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def main() -> None:
    """Trains and exports each, in a fixed order, so that the same weights come out."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    network = trained(convolutional(), low=-1.0)
    exported(network, "cnn-torch", dynamo=True, opset=18)
    exported(trained(separable(), high=255.0), "separable-torch-trace", dynamo=False, opset=13)
    exported(trained(Residual()), "residual-torch-trace", dynamo=False, opset=11)
    exported(trained(Transformer(), epochs=35), "transformer-torch", dynamo=True, opset=20)
    exported(trained(Recurrent(nn.LSTM, both=True)), "lstm-torch", dynamo=True, opset=18)
    exported(trained(Recurrent(nn.GRU, both=False)), "gru-torch-trace", dynamo=False, opset=17)
    quantised(trained(convolutional()), "quantised-onnxruntime")
    for path in HERE.glob("*torch*.onnx"):
        onnx.checker.check_model(str(path))


if __name__ == "__main__":
    main()
