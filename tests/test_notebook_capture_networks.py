"""Networks of Keras, TensorFlow and PyTorch as ONNX: the right file, or the reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from captured_models import CLOSE, is_good, run
from capturing import Rows, captured

from gpulab.notebook.capture.load import load_variables

# Keras and TensorFlow


def keras_models(x: Any) -> dict[str, Any]:
    """Return Keras models of every class, with what is no model beside them."""
    import keras
    import tensorflow as tf
    from keras import layers

    class Two(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.drop = layers.Dense(3), layers.Dropout(0.5)

        def call(self, data: Any, training: bool = False) -> Any:
            dropped = self.drop(self.dense(data), training=training)
            return {"a": dropped, "b": tf.reduce_sum(data, 1)}

    class Wrapped(keras.Sequential):  # type: ignore[misc]
        pass

    sequential = keras.Sequential([layers.Dense(4, activation="relu"), layers.Dense(2)])
    sequential.compile("adam", "mse")
    history = sequential.fit(x, x[:, :2], epochs=2, verbose=0)
    image = keras.Input((None, None, 1))
    one, two = keras.Input((3,), name="one"), keras.Input((5,), name="two")
    tokens = keras.Input((6,), dtype="int32")
    joined = layers.Concatenate()([one, two])
    subclassed = Two()
    subclassed(x)
    reader = layers.TextVectorization(max_tokens=9)
    reader.adapt(["a b", "c"])
    text = keras.Input((), dtype="string")
    embedded = layers.Embedding(9, 2)(reader(text))
    return {
        "sequential": sequential,
        "functional": keras.Model(image, layers.Conv2D(2, 3, padding="same")(image)),
        "subclassed": subclassed,
        "wrapped": Wrapped([keras.Input((8,)), layers.Dense(1)]),
        "several": keras.Model([one, two], [layers.Dense(2)(joined), layers.Dense(1)(one)]),
        "by_name": keras.Model({"one": one, "two": two}, {"z": layers.Dense(2)(joined)}),
        "tokens": keras.Model(tokens, layers.LSTM(4)(layers.Embedding(9, 3)(tokens))),
        "unbuilt": Two(),
        "text": keras.Model(text, layers.GlobalAveragePooling1D()(embedded)),
        "history": history,
        "layer": layers.Dense(2),
        "loss": keras.losses.MeanSquaredError(),
        "optimizer": keras.optimizers.Adam(),
        "symbol": image,
    }


GOOD = ("sequential", "functional", "subclassed", "wrapped", "several", "by_name", "tokens")


@pytest.fixture(scope="module")
def tensorflow_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows, dict[str, Any]]:
    """Capture models and values of TensorFlow and Keras once."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("keras")
    x = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    variables = keras_models(x)
    variables["sequential"].export(folder / "saved", verbose=False)
    variables |= {
        "x_test": x,
        "loaded": tf.saved_model.load(str(folder / "saved")),
        "module": tf.Module(),
        "tensor": tf.constant([[1.0, 2.0]]),
        "variable": tf.Variable([1, 2]),
        "weight": variables["sequential"].weights[0],
        "ragged": tf.ragged.constant([[1, 2], [3]]),
        "texts": tf.constant(["a", "b"]),
        "stream": tf.data.Dataset.from_tensor_slices(x),
    }
    out = folder / "out"
    return out, captured(out, **variables), variables


def test_keras_models_of_every_class_are_exported(
    tensorflow_run: tuple[Path, Rows, dict[str, Any]],
) -> None:
    folder, rows, variables = tensorflow_run
    names = (*GOOD, "loaded")
    assert {name: rows[name] for name in names if not is_good(rows[name])} == {}
    assert "20 rows of x_test" in rows["sequential"]["note"]
    other = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    expected = np.asarray(variables["sequential"](other))
    for name in ("sequential", "loaded"):
        assert np.allclose(run(folder, rows[name], other)[0], expected, atol=CLOSE)
    images = np.ones((2, 16, 24, 1), np.float32)
    assert run(folder, rows["functional"], images)[0].shape == (2, 16, 24, 2)


def test_what_is_no_keras_model_has_a_reason(
    tensorflow_run: tuple[Path, Rows, dict[str, Any]],
) -> None:
    folder, rows, _ = tensorflow_run
    marks = {
        "unbuilt": "inputs are unknown",
        "text": "takes text",
        "layer": "a layer",
        "loss": "a loss",
        "optimizer": "an optimizer",
        "symbol": "a symbol",
        "stream": "a stream",
        "module": "neither a model nor data",
    }
    assert {name: rows[name] for name, m in marks.items() if m not in rows[name]["note"]} == {}
    assert {rows[name]["saved"] for name in marks} == {"no"}
    assert not list((folder / "models").glob(".*")), "nothing unfinished is left"


def test_tensors_and_histories_are_values(
    tensorflow_run: tuple[Path, Rows, dict[str, Any]],
) -> None:
    folder, _, variables = tensorflow_run
    values = load_variables(folder / "arrays.h5")
    assert values["history"]["loss"] == variables["history"].history["loss"]
    assert values["history"]["epoch"] == [0, 1]
    assert values["tensor"].tolist() == [[1.0, 2.0]]
    assert values["variable"].tolist() == [1, 2]
    assert np.array_equal(values["weight"], np.asarray(variables["weight"]))
    assert values["ragged"] == [[1, 2], [3]]
    assert values["texts"].tolist() == [b"a", b"b"]


# PyTorch

TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.skipif(not TORCH, reason="PyTorch is not in the locked environment")
def test_torch_modules_are_exported(tmp_path: Path) -> None:
    import torch
    from torch import nn

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 4)
            self.example_input_array = (torch.randn(1, 3), torch.randn(1, 5))

        def forward(self, x: Any, y: Any) -> Any:
            return self.a(x), self.b(y)

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(8, 2)

        def forward(self, x: Any) -> Any:
            x = self.a(x)
            return x * 2 if x.sum() > 0 else x

    class Unknown(nn.Module):
        def forward(self, x: Any, y: Any, z: Any) -> Any:
            return x + y + z

    layers = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    pairs = torch.utils.data.TensorDataset(torch.randn(8, 7))
    rows = captured(
        tmp_path,
        X_test=torch.randn(20, 8),
        layers=layers,
        two=Two(),
        images=nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(1800, 2)),
        recurrent=nn.LSTM(5, 4, batch_first=True),
        tokens=nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(48, 2)),
        seven=nn.Linear(7, 2),
        loader=torch.utils.data.DataLoader(pairs, batch_size=4),
        branching=Branching(),
        unknown=Unknown(),
        loss=nn.CrossEntropyLoss(),
        half=torch.ones(2, dtype=torch.bfloat16),
    )
    good = ("layers", "two", "images", "recurrent", "tokens", "seven", "branching")
    assert {name: rows[name] for name in good if not is_good(rows[name])} == {}
    assert layers.training, "the module is left as it was"
    assert "of X_test" in rows["layers"]["note"]
    assert "of loader" in rows["seven"]["note"]
    assert "choices that depend on the data" in rows["branching"]["note"]
    assert {rows[name]["saved"] for name in ("unknown", "loss", "loader")} == {"no"}
    more = np.ones((9, 8), np.float32)
    assert run(tmp_path, rows["layers"], more)[0].shape == (9, 2), "the number of rows is free"
    assert load_variables(tmp_path / "arrays.h5")["half"].tolist() == [1.0, 1.0]
