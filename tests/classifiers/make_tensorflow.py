"""Makes the classifiers of Keras: `PYTHONPATH=src python -m tests.classifiers.make_tensorflow`.

Made with tensorflow-cpu 2.21.0, keras 3.15.1 and tf2onnx 1.17.0. Channels come last.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tf2onnx

from obfnet import load_case

HERE = Path(__file__).parent


def main() -> None:
    """Trains and exports it."""
    keras.utils.set_random_seed(0)
    digits = load_case("digits").train
    samples, labels = np.moveaxis(digits.samples[:], 1, 3), np.array(digits.labels)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(24, 3, padding="same", activation="selu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    network.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(samples, labels, batch_size=64, epochs=30, verbose=0)
    network.output_names = ["chances"]
    taken = tf.TensorSpec((None, 8, 8, 1), tf.float32, name="pictures")
    function = tf.function(lambda pictures: network(pictures, training=False), input_signature=[taken])
    tf2onnx.convert.from_function(function, [taken], opset=15, output_path=str(HERE / "cnn-tensorflow.onnx"))


if __name__ == "__main__":
    main()
