"""Makes the classifier of PaddlePaddle: `PYTHONPATH=src python -m tests.classifiers.make_paddle`.

Made with paddlepaddle 3.3.1 and paddle2onnx 2.1.0.
"""

from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from obfnet import load_case

HERE = Path(__file__).parent


def main() -> None:
    """Trains and exports it."""
    paddle.seed(0)
    digits = load_case("digits").train
    samples, labels = paddle.to_tensor(digits.samples[:]), paddle.to_tensor(np.array(digits.labels))
    network = nn.Sequential(
        nn.Conv2D(1, 16, 3, padding=1),
        nn.BatchNorm2D(16),
        nn.LeakyReLU(0.1),
        nn.MaxPool2D(2),
        nn.Conv2D(16, 24, 3),
        nn.Swish(),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    optimiser = paddle.optimizer.Adam(5e-3, parameters=network.parameters())
    order = np.random.default_rng(0)
    for _ in range(30):
        rows = order.permutation(len(labels))
        for start in range(0, len(rows) - 63, 64):
            some = paddle.to_tensor(rows[start : start + 64])
            loss = nn.functional.cross_entropy(network(samples[some]), labels[some])
            loss.backward()
            optimiser.step()
            optimiser.clear_grad()
    network.eval()
    taken = paddle.static.InputSpec([None, 1, 8, 8], "float32", "x")
    paddle.onnx.export(network, str(HERE / "cnn-paddle"), input_spec=[taken], opset_version=13)


if __name__ == "__main__":
    main()
