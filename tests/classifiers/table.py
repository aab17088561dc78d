"""Classifiers of digits from several families and exporters, as files: the table of tests and measurement.

Each was trained by a script of this folder on the training part of the case `digits`, for a time that was
fixed beforehand; nothing was selected on its test part.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """One file.

    Args:
        name: Of the file, less its ending.
        family: What kind of classifier it is.
        exporter: What wrote the file, with its version.
        high: The largest value that it was trained on.
        low: The smallest.
        layout: Of a picture as it takes it.
        refused: The operator and its node that `protect` names as the reason why not; empty where it can.
    """

    name: str
    family: str
    exporter: str
    low: float = 0.0
    high: float = 1.0
    layout: str = "CHW"
    refused: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return FOLDER / f"{self.name}.onnx"

    def wire(self, digits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Digits `(N, 1, 8, 8)` in [0, 1] as the classifier takes them."""
        scaled = digits * np.float32(self.high - self.low) + np.float32(self.low)
        return scaled if self.layout == "CHW" else np.moveaxis(scaled, 1, 3)

    def outside_scores(self, digits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What ONNX Runtime gives for digits `(N, 1, 8, 8)` in [0, 1]: `(N, 10)`, scores or probabilities."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # Node by node: where a processor has no VNNI, the fused layers of 8-bit numbers overflow.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            self.path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        (given,) = session.get_inputs()
        # Those of scikit-learn give a label first.
        found: Any = session.run([session.get_outputs()[-1].name], {given.name: self.wire(digits)})[0]
        return np.asarray(found, np.float32)


_TORCH: Final = "torch 2.13.0, torch.export"
_TRACE: Final = "torch 2.13.0, TorchScript"
_SKLEARN: Final = "skl2onnx 1.20.0"
CLASSIFIERS: Final = (
    Classifier(name="cnn-torch", family="CNN, batch normalisation", exporter=_TORCH, low=-1.0),
    Classifier(name="separable-torch-trace", family="depthwise separable CNN", exporter=_TRACE, high=255.0),
    Classifier(name="residual-torch-trace", family="residual CNN", exporter=_TRACE),
    Classifier(name="transformer-torch", family="vision transformer", exporter=_TORCH),
    Classifier(name="lstm-torch", family="LSTM in both directions over rows", exporter=_TORCH),
    Classifier(name="gru-torch-trace", family="GRU over rows", exporter=_TRACE),
    Classifier(
        name="cnn-tensorflow", family="Keras CNN, channels last", exporter="tf2onnx 1.17.0", layout="HWC"
    ),
    Classifier(name="mixer-jax", family="Flax MLP-mixer", exporter="jax2onnx 0.17.1", layout="HWC"),
    Classifier(name="cnn-paddle", family="PaddlePaddle CNN", exporter="paddle2onnx 2.1.0"),
    Classifier(name="mlp-sklearn", family="scikit-learn MLP", exporter=_SKLEARN),
    Classifier(name="neighbours-by-hand", family="soft nearest neighbours", exporter="onnx 1.23.2, by hand"),
    Classifier(name="logistic-sklearn", family="logistic regression", exporter=_SKLEARN),
    Classifier(
        name="svm-sklearn",
        family="support vector machine",
        exporter=_SKLEARN,
        refused="ai.onnx.ml.SVMClassifier (node 'SVMc')",
    ),
    Classifier(
        name="forest-sklearn",
        family="random forest",
        exporter=_SKLEARN,
        refused="ai.onnx.ml.TreeEnsembleClassifier (node 'TreeEnsembleClassifier')",
    ),
    Classifier(
        name="boosted-xgboost",
        family="boosted trees",
        exporter="onnxmltools 1.16.0",
        refused="ai.onnx.ml.TreeEnsembleClassifier (node 'TreeEnsembleClassifier')",
    ),
    Classifier(
        name="quantised-onnxruntime",
        family="CNN of 8-bit numbers",
        exporter="onnxruntime 1.32.0, quantize_static",
        refused="QuantizeLinear (node 'x_QuantizeLinear')",
    ),
)
