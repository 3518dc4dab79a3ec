from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.models.check import check_model
from gpulab.models.session import open_model, to_probabilities
from gpulab.testing import onnx_models as tiny
from gpulab.testing.files import TEST_FILES


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        path = tmp_path / Path(name).name
        TEST_FILES[name](path)
        return path

    return write


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    path = tmp_path / "model.onnx"
    tiny.save(model, path)
    return path


def test_our_model_says_what_it_is_and_finds_its_band(written: Callable[[str], Path]) -> None:
    model = open_model(written("predict/model_bce.onnx"), "m", channels=1)
    assert (model.threshold, model.loss, model.multiple) == (0.4, "BCE", 16)
    assert model.class_names == ("background", "lesion")
    assert model.device.startswith(("CPU", "GPU"))
    images = np.array([0, 60, 79, 81, 100, 124, 126, 200], dtype=np.float32).reshape(1, 1, 8, 1)
    probabilities = model.predict(images)
    assert probabilities.shape == (1, 1, 8, 2)
    assert (probabilities[0, 0, :, 1] > 0.5).tolist() == [False] * 3 + [True] * 3 + [False] * 2
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0, atol=1e-6)


def test_a_foreign_model_channels_first_with_logits(written: Callable[[str], Path]) -> None:
    path = written("predict/model_foreign_logits.onnx")
    model = open_model(path, "theirs", channels=1, activation="logits")
    assert (model.height, model.width, model.metadata, model.threshold) == (32, 32, None, 0.5)
    images = np.full((3, 32, 32, 1), 70, dtype=np.float32)
    images[:, :4] = 90
    foreground = model.predict(images)[..., 1]
    assert (foreground[:, :4] > 0.99).all() and (foreground[:, 4:] < 0.01).all()
    automatic = open_model(path, "theirs", channels=1)
    with pytest.raises(InputError, match=r"values from -10 to 10, .* choose 'logits'"):
        automatic.predict(images)


def pooling_model() -> onnx.ModelProto:
    """Halves twice and doubles twice: takes multiples of 4 alone, as a U-Net of depth 2."""
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        tiny.node("MaxPool", ["image"], ["a"], **pool),
        tiny.node("MaxPool", ["a"], ["b"], **pool),
        tiny.node("Resize", ["b", "", "scales"], ["c"], mode="nearest"),
        tiny.node("Add", ["c", "image"], ["d"]),
        tiny.node("Sigmoid", ["d"], ["mask"]),
    ]
    shape = ("batch", 1, "height", "width")
    scales = tiny.constant("scales", [1, 1, 4, 4])
    return tiny.make_model(nodes, constants=[scales], image=shape, mask=shape)


def test_the_sizes_that_a_foreign_model_takes_are_found_by_trying(tmp_path: Path) -> None:
    assert open_model(saved(tmp_path, pooling_model()), "m", channels=1).multiple == 4


def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    shape = (4, "height", "width", 1)
    node = tiny.node("Clip", ["image", "zero", "one"], ["mask"])
    limits = [tiny.constant("zero", 0.0), tiny.constant("one", 1.0)]
    path = saved(tmp_path, tiny.make_model([node], constants=limits, image=shape, mask=shape))
    images = np.random.default_rng(0).random((6, 5, 7, 1), dtype=np.float32)
    predicted = open_model(path, "m", channels=1).predict(images)
    np.testing.assert_allclose(predicted[..., 1:], images)


@pytest.mark.parametrize("dtype", ["FLOAT16", "DOUBLE", "UINT8"])
def test_other_number_types(tmp_path: Path, dtype: str) -> None:
    one = tiny.constant("limit", 1, {"FLOAT16": "float16", "DOUBLE": "float64"}.get(dtype, "uint8"))
    node = tiny.node("Min", ["image", "limit"], ["mask"])
    path = saved(tmp_path, tiny.make_model([node], constants=[one], mask=tiny.FREE, dtype=dtype))
    model = open_model(path, "m", channels=1)
    images = np.array([0, 1, 3], dtype=np.float32).reshape(1, 1, 3, 1)
    assert model.predict(images)[..., 1].ravel().tolist() == [0, 1, 1]
    if dtype == "UINT8":
        with pytest.raises(InputError, match="takes 8-bit images"):
            model.predict(images / 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("predict/bad_text.onnx", "is no ONNX model"),
        ("predict/bad_custom_operator.onnx", "needs the custom operator 'acme.example::Secret'"),
        ("predict/bad_external_data.onnx", "keeps weights in external data"),
        ("predict/bad_rank.onnx", "takes an input with 5 axes|output has 5 axes"),
        ("predict/bad_classifier.onnx", "one answer an image, as a classifier does"),
        (
            "predict/bad_smaller_mask.onnx",
            "gives 1 x 1 x .* a mask has the image's height and width",
        ),
        ("predict/bad_colour.onnx", "takes images with 3 channels, but these have 1 channel,"),
    ],
)
def test_bad_models_get_one_sentence(
    written: Callable[[str], Path], name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        open_model(written(name), "the model", channels=1)
    assert "\n" not in str(error.value) and "the model" in str(error.value)


def test_control_flow_bodies_are_looked_into(tmp_path: Path) -> None:
    empty = [onnx.helper.make_tensor_value_info("mask_in", onnx.TensorProto.FLOAT, None)]
    bad = tiny.node("Secret", ["image"], ["mask_in"], domain="acme.example")
    body = onnx.helper.make_graph([bad], "body", [], empty)
    condition = tiny.constant("condition", True, "bool")
    node = tiny.node("If", ["condition"], ["mask"], then_branch=body, else_branch=body)
    path = saved(tmp_path, tiny.make_model([node], constants=[condition], mask=tiny.FREE))
    with pytest.raises(InputError, match="custom operator"):
        check_model(path, "m")


def test_local_functions_are_allowed_but_looked_into(tmp_path: Path) -> None:
    def model(inner: str, domain: str) -> onnx.ModelProto:
        function = onnx.helper.make_function(
            "local",
            "Squash",
            ["x"],
            ["y"],
            [tiny.node(inner, ["x"], ["y"], domain=domain)],
            [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("acme.example", 1)],
        )
        node = tiny.node("Squash", ["image"], ["mask"], domain="local")
        return tiny.make_model([node], mask=tiny.FREE, functions=[function])

    good = open_model(saved(tmp_path, model("Sigmoid", "")), "m", channels=1)
    images = np.zeros((1, 2, 2, 1), dtype=np.float32)
    assert good.predict(images)[0, 0, 0].tolist() == [0.5, 0.5]
    with pytest.raises(InputError, match=r"acme.example::Secret"):
        check_model(saved(tmp_path, model("Secret", "acme.example")), "m")


def test_a_truncated_model_is_refused(written: Callable[[str], Path]) -> None:
    path = written("predict/model_bce.onnx")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"no ONNX|not valid ONNX|cannot be loaded"):
        open_model(path, "m", channels=1)


def test_an_opset_of_the_future_is_named(written: Callable[[str], Path]) -> None:
    path = written("predict/model_exact.onnx")
    model = onnx.load(str(path))
    model.opset_import[0].version = 99
    tiny.save(model, path)
    with pytest.raises(InputError, match=r"lower opset|not valid ONNX"):
        open_model(path, "m", channels=1)


def huge_constant_model() -> onnx.ModelProto:
    """Asks for 4 TiB of zeros in some bytes of file."""
    nodes = [
        tiny.node("ConstantOfShape", ["shape"], ["zeros"]),
        tiny.node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        tiny.node("Add", ["image", "sum"], ["mask"]),
    ]
    shape = tiny.constant("shape", [1 << 20, 1 << 20], "int64")
    return tiny.make_model(nodes, constants=[shape], mask=tiny.FREE)


def endless_model() -> onnx.ModelProto:
    condition = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    step = onnx.helper.make_tensor_value_info("i", onnx.TensorProto.INT64, [])
    carried = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "vw"
    ]
    on = onnx.helper.make_tensor_value_info("d", onnx.TensorProto.BOOL, [])
    body = onnx.helper.make_graph(
        [tiny.node("Identity", ["c"], ["d"]), tiny.node("Identity", ["v"], ["w"])],
        "body",
        [step, condition, carried[0]],
        [on, carried[1]],
    )
    yes = tiny.constant("yes", True, "bool")
    loop = tiny.node("Loop", ["", "yes", "image"], ["mask"], body=body)
    return tiny.make_model([loop], constants=[yes], mask=tiny.FREE)


def test_a_memory_bomb_ends_in_the_trial(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more memory than the job has"):
        open_model(saved(tmp_path, huge_constant_model()), "m", channels=1)


def test_an_endless_loop_ends_in_the_trial(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("gpulab.models.trial.TIME_LIMIT_S", 5)
    with pytest.raises(InputError, match="did not finish a small trial run"):
        open_model(saved(tmp_path, endless_model()), "m", channels=1)


def test_a_sparse_tensor_cannot_declare_any_size(tmp_path: Path) -> None:
    model = tiny.make_model([tiny.node("Add", ["image", "s"], ["mask"])], mask=tiny.FREE)
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(tiny.constant("s", [1.0]))
    sparse.indices.CopyFrom(tiny.constant("s_i", [0], "int64"))
    sparse.dims.extend([1 << 31, 1 << 10])
    with pytest.raises(InputError, match="declares weights of"):
        check_model(saved(tmp_path, model), "m")


def test_an_ambiguous_order_of_axes_needs_a_choice(tmp_path: Path) -> None:
    shape = ("batch", "a", "b", "c")
    node = tiny.node("Sigmoid", ["image"], ["mask"])
    path = saved(tmp_path, tiny.make_model([node], image=shape, mask=shape))
    with pytest.raises(InputError, match="channels come first or last"):
        open_model(path, "m", channels=1)
    assert open_model(path, "m", channels=1, layout="first").classes == 2


def test_metadata_and_channels_must_agree(written: Callable[[str], Path]) -> None:
    path = written("predict/model_bce.onnx")
    model = onnx.load(str(path))
    for entry in model.metadata_props:
        if entry.key == "class_names":
            entry.value = '["background", "left", "right"]'
    tiny.save(model, path)
    with pytest.raises(InputError, match="names 3 classes but gives 2 channels"):
        open_model(path, "m", channels=1)


@given(st.integers(1, 4), st.sampled_from(["logits", "independent_logits"]))
def test_logits_become_probabilities(channels: int, activation: Any) -> None:
    values = np.random.default_rng(channels).normal(0, 5, (2, 3, 4, channels)).astype(np.float32)
    result = to_probabilities(values, activation, "m")
    assert result.shape[-1] == max(2, channels) and result.dtype == np.float32
    assert (result >= 0).all() and (result <= 1).all()
    if activation == "logits" or channels == 1:
        np.testing.assert_allclose(result.sum(axis=-1), 1.0, atol=1e-5)
    if channels > 1:
        assert (result.argmax(axis=-1) == values.argmax(axis=-1)).mean() > 0.9


def test_nan_from_a_model_is_an_error() -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        to_probabilities(np.full((1, 1, 1, 2), np.nan, dtype=np.float32), "auto", "m")
