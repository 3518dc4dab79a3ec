"""Models of a notebook as ONNX: the right file, compared with the original, or the reason."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

from gpulab.notebook.capture import capture
from gpulab.notebook.capture.compare import Trial, compare
from gpulab.notebook.capture.load import load_variables

Rows = dict[str, dict[str, Any]]
CLOSE = 1e-4


def captured(folder: Path, **variables: Any) -> Rows:
    """Capture variables; return the rows of the table by name."""
    capture(variables, str(folder))
    lines = (folder / "variables.jsonl").read_text().splitlines()
    return {row["name"]: row for row in map(json.loads, lines) if "name" in row}


def run(folder: Path, row: dict[str, Any], *feeds: Any) -> list[Any]:
    """Run a saved model with ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(folder / "models" / row["where"])
    names = [port.name for port in session.get_inputs()]
    return list(session.run(None, dict(zip(names, feeds, strict=True))))


def is_good(row: dict[str, Any]) -> bool:
    return bool(
        row["saved"] == "model"
        and row["difference"] is not None
        and row["difference"] < CLOSE
        and "do not rely" not in row["note"]
        and "not compared" not in row["note"]
    )


# scikit-learn


@pytest.fixture(scope="module")
def cancer() -> tuple[Any, Any]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return x[:150] / np.abs(x).max(axis=0), y[:150]


def estimators(x: Any, y: Any) -> dict[str, Any]:
    """Return fitted estimators of many kinds; each takes the 30 features of `x`."""
    from sklearn import (
        cluster,
        decomposition,
        ensemble,
        linear_model,
        mixture,
        multioutput,
        naive_bayes,
        neighbors,
        neural_network,
        pipeline,
        preprocessing,
        svm,
        tree,
    )
    from sklearn.feature_selection import SelectKBest
    from sklearn.model_selection import GridSearchCV

    logistic = linear_model.LogisticRegression(max_iter=50)
    scaled = pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC())
    forest = pipeline.make_pipeline(
        SelectKBest(k=5), ensemble.RandomForestClassifier(3, max_depth=3, random_state=0)
    )
    names = [("a", linear_model.LogisticRegression()), ("b", naive_bayes.GaussianNB())]
    search = GridSearchCV(forest, {"selectkbest__k": [4, 5]}, cv=2)
    both = np.stack([y, 1 - y], axis=1)
    return {
        "logistic": logistic.fit(x, y),
        "pipeline": scaled.fit(x, y),
        "search": search.fit(x, y),
        "bayes": naive_bayes.GaussianNB().fit(x, y),
        "network": neural_network.MLPClassifier((4,), max_iter=5).fit(x, y),
        "neighbours": neighbors.KNeighborsClassifier(3).fit(x, y),
        "linear": linear_model.LinearRegression().fit(x, y),
        "tree": tree.DecisionTreeRegressor(max_depth=3).fit(x, y),
        "boosted": ensemble.HistGradientBoostingClassifier(max_iter=3).fit(x, y),
        "voting": ensemble.VotingClassifier(names, voting="soft").fit(x, y),
        "stacking": ensemble.StackingClassifier(names, cv=2).fit(x, y),
        "outliers": ensemble.IsolationForest(n_estimators=5, random_state=0).fit(x),
        "many": multioutput.MultiOutputClassifier(naive_bayes.GaussianNB()).fit(x, both),
        "clusters": cluster.KMeans(3, n_init=1, random_state=0).fit(x),
        "mixture": mixture.GaussianMixture(2, random_state=0).fit(x),
        "components": decomposition.PCA(2).fit(x),
        "scaler": preprocessing.StandardScaler().fit(x),
        "words": linear_model.LogisticRegression().fit(x, np.where(y > 0, "good", "bad")),
    }


def test_estimators_of_many_kinds_keep_their_features(
    tmp_path: Path, cancer: tuple[Any, Any]
) -> None:
    x, y = cancer
    models = estimators(x, y)
    rows = captured(tmp_path, X_test=x[:40], **models)
    assert {name: rows[name] for name in models if not is_good(rows[name])} == {}
    for name in models:
        assert "of X_test" in rows[name]["note"], "real data are better than random ones"
        session = onnxruntime.InferenceSession(tmp_path / "models" / f"{name}.onnx")
        assert [port.shape[1] for port in session.get_inputs()] == [30]
        assert all(port.type.startswith("tensor") for port in session.get_outputs())
    labels, probabilities = run(tmp_path, rows["logistic"], x.astype(np.float32))
    assert labels.tolist() == models["logistic"].predict(x).tolist()
    assert np.allclose(probabilities, models["logistic"].predict_proba(x), atol=CLOSE)
    assert "40 labels equal" in rows["words"]["note"]


def test_a_converter_that_is_wrong_is_told(tmp_path: Path, cancer: tuple[Any, Any]) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = cancer
    model = LinearDiscriminantAnalysis().fit(x, y)
    row = captured(tmp_path, x=x, model=model)["model"]
    session = onnxruntime.InferenceSession(tmp_path / "models" / row["where"])
    assert [port.type for port in session.get_inputs()] == ["tensor(float)"], "the usual type"
    probabilities = run(tmp_path, row, x.astype(np.float32))[1]
    # skl2onnx 1.20 doubles the exponent; a later one may not.
    is_wrong = np.abs(probabilities - model.predict_proba(x)).max() > 1e-2
    assert ("do not rely" in row["note"]) is bool(is_wrong), row


def test_what_cannot_be_converted_costs_nothing_else(
    tmp_path: Path, cancer: tuple[Any, Any]
) -> None:
    from sklearn import cluster, linear_model, preprocessing

    x, y = cancer
    rows = captured(
        tmp_path,
        scan=cluster.DBSCAN().fit(x),
        unfitted=linear_model.LogisticRegression(),
        logs=preprocessing.FunctionTransformer(np.log1p).fit(x),
        kind=linear_model.LogisticRegression,
        good=linear_model.LinearRegression().fit(x, y),
        numbers=[1, 2],
    )
    assert is_good(rows["good"])
    assert rows["numbers"]["saved"] == "arrays"
    assert rows["unfitted"]["note"] == "not fitted yet"
    assert "cannot be converted" in rows["scan"]["note"]
    assert "cannot be converted" in rows["logs"]["note"]
    assert "kind" not in rows, "a class is no model"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["good.onnx"]


def people() -> tuple[pd.DataFrame, list[int]]:
    frame = pd.DataFrame(
        {
            "age": [20.0, 30.0, None, 50.0] * 5,
            "city": ["A", "B", "A", "C"] * 5,
            "visits": range(20),
            "unused": ["x"] * 20,
            "group": pd.Categorical(["u", "v"] * 10),
        }
    )
    return frame, [0, 1, 0, 1] * 5


def mixed_pipeline() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer(
        [("numbers", numbers, ["age", "visits"]), ("words", words, ["city", "group"])]
    )
    return make_pipeline(columns, LogisticRegression())


@pytest.mark.parametrize("table_is_there", [True, False])
def test_a_pipeline_on_a_table_has_an_input_for_each_column(
    tmp_path: Path, table_is_there: bool
) -> None:
    frame, answers = people()
    model = mixed_pipeline().fit(frame, answers)
    more = {"df": frame} if table_is_there else {}
    rows = captured(tmp_path, model=model, **more)
    assert is_good(rows["model"]), rows
    if table_is_there:
        assert "20 rows of df" in rows["model"]["note"]
    session = onnxruntime.InferenceSession(tmp_path / "models" / "model.onnx")
    types = {port.name: port.type for port in session.get_inputs()}
    assert types["city"] == types["group"] == "tensor(string)"
    assert types["age"] == types["visits"] == "tensor(float)"


def test_texts_and_categories(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import LabelEncoder, OneHotEncoder

    texts = ["apple cat", "dog fog", "apple apple", "fog"]
    reader = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 0, 1])
    rows = captured(
        tmp_path,
        texts=texts,
        reader=reader,
        labels=LabelEncoder().fit(["a", "b"]),
        words=OneHotEncoder().fit([["a"], ["b"]]),
        numbers=OneHotEncoder().fit([[1, 5], [2, 6]]),
    )
    names = ("reader", "labels", "words", "numbers")
    assert {name: rows[name] for name in names if not is_good(rows[name])} == {}
    assert "rows of texts" in rows["reader"]["note"]


def test_models_in_containers_and_models_with_two_names(
    tmp_path: Path, cancer: tuple[Any, Any]
) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.naive_bayes import GaussianNB

    x, y = cancer
    first, second = LinearRegression().fit(x, y), GaussianNB().fit(x, y)
    rows = captured(
        tmp_path,
        best=first,
        models={"linear": first, "bayes": second, "score": 0.5},
        folds=[GaussianNB().fit(x, y), GaussianNB().fit(x, y)],
    )
    assert is_good(rows["best"])
    assert rows["models['linear']"]["note"] == "the same as best"
    assert rows["models['bayes']"]["where"] == "models__bayes.onnx"
    assert is_good(rows["folds[1]"])
    assert rows["folds"]["note"] == "its models have rows of their own"
    assert load_variables(tmp_path / "arrays.h5")["models"] == {"score": 0.5}
    assert len(list((tmp_path / "models").iterdir())) == 4


# The comparison itself


def scaler_model(factor: float) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in "xy"]
    constant = numpy_helper.from_array(np.float32(factor), "factor")
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(
    ("expected", "note"),
    [
        ([[2.0, 4.0]], "largest difference to the original 0, on data"),
        ([[2.0, 4.5]], "do not rely on this file"),
        ([[2.0, float("nan")]], "do not rely on this file"),
        ([[2.0, 4.0, 6.0]], "not compared"),
    ],
)
def test_a_model_that_computes_something_else_is_told(
    tmp_path: Path, expected: list[list[float]], note: str
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(scaler_model(2), path)
    verdict = compare(path, Trial([np.array([[1.0, 2.0]])], [np.array(expected)], "data"))
    assert note in verdict.note
    assert verdict.agrees is (note.startswith("largest"))


def test_labels_are_compared_as_labels(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(scaler_model(2), path)
    wanted = np.array([["2.0", "5.0"]])
    verdict = compare(path, Trial([np.array([[1.0, 2.0]])], [wanted], "data"))
    assert verdict.note.startswith("1 of 2 labels differ")
    assert not verdict.agrees


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


# No heavy library is imported for a notebook that did not

LIGHT = """
import sys
from gpulab.notebook.capture import capture
capture({"x": 1, "rows": [1, "a"], "word": "b"}, sys.argv[1])
heavy = {"tensorflow", "keras", "torch", "sklearn", "pandas", "scipy", "jax", "matplotlib", "onnx"}
print(sorted(heavy & set(sys.modules)))
"""


def test_capturing_imports_nothing_heavy(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIGHT, str(tmp_path)]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    assert done.stdout.strip() == "[]"


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
