"""Models of scikit-learn as ONNX: the right file, compared with the original, or the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from captured_models import CLOSE, is_good, run
from capturing import captured

from gpulab.notebook.capture.load import load_variables


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
