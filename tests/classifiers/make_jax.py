"""Makes the classifier of Flax: `PYTHONPATH=src python -m tests.classifiers.make_jax`.

Made with jax 0.10.2, flax 0.12.8, optax 0.2.8 and jax2onnx 0.17.1. Channels come last.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import optax
from flax import nnx
from jax2onnx import to_onnx

from obfnet import load_case

HERE = Path(__file__).parent


class Mixer(nnx.Module):
    """Layers across patches and layers across channels, in turn."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.patches = nnx.Conv(1, 24, (2, 2), strides=(2, 2), padding="VALID", rngs=rngs)
        self.across, self.back = nnx.Linear(16, 32, rngs=rngs), nnx.Linear(32, 16, rngs=rngs)
        self.up, self.down = nnx.Linear(24, 48, rngs=rngs), nnx.Linear(48, 24, rngs=rngs)
        self.first, self.second = nnx.LayerNorm(24, rngs=rngs), nnx.LayerNorm(24, rngs=rngs)
        self.head = nnx.Linear(24, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.patches(x).reshape(x.shape[0], 16, 24)
        mixed = self.back(nnx.gelu(self.across(jnp.swapaxes(self.first(x), 1, 2))))
        x = x + jnp.swapaxes(mixed, 1, 2)
        x = x + self.down(nnx.gelu(self.up(self.second(x))))
        return self.head(x.mean(1))


@nnx.jit
def step(network: Mixer, optimiser: nnx.Optimizer, samples: jax.Array, labels: jax.Array) -> None:
    """One step of training."""

    def loss(one: Mixer) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(one(samples), labels).mean()

    optimiser.update(network, nnx.grad(loss)(network))


def main() -> None:
    """Trains and exports it."""
    digits = load_case("digits").train
    samples, labels = np.moveaxis(digits.samples[:], 1, 3), np.array(digits.labels)
    network = Mixer(nnx.Rngs(0))
    optimiser = nnx.Optimizer(network, optax.adam(5e-3), wrt=nnx.Param)
    order = np.random.default_rng(0)
    for _ in range(30):
        rows = order.permutation(len(samples))
        for start in range(0, len(rows) - 63, 64):
            some = rows[start : start + 64]
            step(network, optimiser, samples[some], labels[some])
    onnx.save(to_onnx(network, [("N", 8, 8, 1)], opset=21), HERE / "mixer-jax.onnx")


if __name__ == "__main__":
    main()
