from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.models.metadata import (
    ModelMetadata,
    from_props,
    read_metadata,
    to_props,
    write_metadata,
)

METADATA = ModelMetadata(
    class_names=("background", "lesion"),
    threshold=0.35,
    spatial_multiple=16,
    training_data_sha256="ab" * 32,
    seed=7,
    loss="BCE + TV",
    versions={"keras": "3.15.1"},
)


def tiny_model(path: Path) -> None:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "tiny",
        [info("x", onnx.TensorProto.FLOAT, [None, None, None, 1])],
        [info("y", onnx.TensorProto.FLOAT, [None, None, None, 1])],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset), str(path))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    tiny_model(path)
    assert read_metadata(onnx.load(str(path))) is None
    write_metadata(path, METADATA)
    write_metadata(path, METADATA)
    model = onnx.load(str(path))
    assert read_metadata(model) == METADATA
    assert len(model.metadata_props) == len(to_props(METADATA))
    assert list(tmp_path.iterdir()) == [path]


@given(
    names=st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=6, unique=True),
    threshold=st.floats(0.01, 0.99),
    sure=st.floats(0, 1),
    mirrored=st.booleans(),
    size=st.none() | st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)),
    grey=st.none() | st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)),
    multiple=st.integers(1, 1024),
    loss=st.text(max_size=50),
)
def test_any_metadata_survive_the_round_trip(
    names: list[str],
    threshold: float,
    sure: float,
    mirrored: bool,
    multiple: int,
    loss: str,
    size: tuple[int, int] | None,
    grey: tuple[float, float] | None,
) -> None:
    metadata = ModelMetadata(tuple(names), threshold, sure, mirrored, multiple, loss=loss)
    metadata = replace(metadata, image_size=size, grey_values=grey)
    assert from_props(to_props(metadata)) == metadata


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("threshold", "1.5", "threshold must lie between 0 and 1"),
        ("threshold", "NaN", "threshold must lie between 0 and 1"),
        ("threshold", "half", "cannot be read"),
        ("threshold", "true", "not a number"),
        ("sure_dice", "1.5", "sure_dice must lie between 0 and 1"),
        ("sure_dice", "NaN", "sure_dice must lie between 0 and 1"),
        ("sure_dice", "all", "cannot be read"),
        ("mirrored", "1", "neither true nor false"),
        ("mirrored", "yes", "cannot be read"),
        ("image_size", "[0, 64]", "image_size must lie between 1 and"),
        ("image_size", "[64]", "not two numbers"),
        ("image_size", "[64, 64.5]", "not a whole number"),
        ("image_size", '"64"', "not two numbers"),
        ("grey_values", "[10, -1]", "grey_values must be a mean and a standard deviation"),
        ("grey_values", "[NaN, 1]", "grey_values must be a mean and a standard deviation"),
        ("grey_values", "[true, 1]", "not a number"),
        ("spatial_multiple", "0", "spatial_multiple"),
        ("spatial_multiple", "2.5", "not a whole number"),
        ("spatial_multiple", "1e400", "cannot be read|not a whole number"),
        ("class_names", '["one"]', "2 to 255 names"),
        ("class_names", '["a", "a"]', "same name"),
        ("class_names", "[1, 2]", "not a list of names"),
        ("class_names", "[" * 100_000, "cannot be read"),
        ("training_data_sha256", "zz", "hexadecimal"),
        ("versions", "[]", "versions"),
        ("format_version", "99", "format '99'"),
    ],
)
def test_nonsense_in_our_metadata_is_refused(name: str, value: str, message: str) -> None:
    props = to_props(METADATA) | {name: value}
    with pytest.raises(InputError, match=message):
        from_props(props, "model 'x'")


def test_a_missing_entry_is_named() -> None:
    props = to_props(METADATA)
    del props["class_names"]
    with pytest.raises(InputError, match="class_names"):
        from_props(props)


def test_foreign_metadata_are_left_alone() -> None:
    assert from_props({"class_names": "cats", "threshold": "purple"}) is None


def test_a_model_of_an_earlier_version_has_one_threshold_and_no_mirrored_images() -> None:
    props = to_props(METADATA)
    for name in ("sure_dice", "mirrored", "image_size", "grey_values"):
        del props[name]
    metadata = from_props(props)
    assert metadata is not None and metadata.sure_dice == 0.0 and not metadata.mirrored


def test_training_cannot_write_nonsense() -> None:
    with pytest.raises(InputError, match="threshold"):
        ModelMetadata(threshold=0.0)
