"""Make the Keras files here, and the .onnx files that Keras' own exporter and tf2onnx make of the same tiny networks.

    python tests/data/make_keras.py        needs tensorflow, keras and tf2onnx; the files in the repository are of
                                           TensorFlow 2.21.0, Keras 3.15.1 and tf2onnx 1.17.0

Beside each lies what Keras makes of a fixed input: x and y in one .npz.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from keras import layers

HERE = Path(__file__).parent
N_IN = 3


def networks():
    keras.utils.set_random_seed(1)
    yield "norm", [layers.LSTM(6, return_sequences=True), layers.LayerNormalization(), layers.Dense(4, "relu")]
    yield "lstm", [layers.LSTM(6, return_sequences=True), layers.Dropout(0.5), layers.LSTM(5), layers.Dense(2)]
    yield (
        "gru",
        [layers.GRU(5, return_sequences=True, reset_after=False), layers.LayerNormalization(), layers.Dense(4, "relu")],
    )
    yield "gru-after", [layers.GRU(5, return_sequences=True), layers.Dense(3, "softmax")]
    yield (
        "simple",
        [layers.SimpleRNN(5, return_sequences=True), layers.SimpleRNN(4, "relu"), layers.Dense(1, "sigmoid")],
    )


def main() -> None:
    x = np.random.default_rng(1).normal(size=(1, 40, N_IN)).astype(np.float32)
    for name, chain in networks():
        model = keras.Sequential([keras.Input((None, N_IN)), *chain])
        for layer in model.layers:  # biases are zero at first, and would hide a mistake
            layer.set_weights(
                [w + 0.2 * np.random.default_rng(w.size).normal(size=w.shape) for w in layer.get_weights()]
            )
        model.save(HERE / f"keras-{name}.keras")
        np.savez(HERE / f"keras-{name}.npz", x=x[0], y=np.atleast_2d(np.squeeze(model.predict(x, verbose=0), 0)))
        if name in ("gru-after", "simple"):
            continue  # their exports are loops, as that of "gru" is, which is kept to see it refused
        signature = [tf.TensorSpec((None, None, N_IN), tf.float32, name="x")]
        model.export(HERE / f"keras-export-{name}.onnx", format="onnx", input_signature=signature, verbose=False)
        function = tf.function(lambda x, model=model: model(x), input_signature=signature)
        tf2onnx.convert.from_function(function, signature, output_path=str(HERE / f"tf2onnx-{name}.onnx"), opset=15)
        if name == "lstm":
            model.save(HERE / "keras-lstm.h5")
            model.save_weights(HERE / "keras-lstm.weights.h5")
            (HERE / "keras-lstm.json").write_text(model.to_json() + "\n")


if __name__ == "__main__":
    main()
