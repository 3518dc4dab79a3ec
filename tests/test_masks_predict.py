from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpulab.errors import InputError
from gpulab.h5.build_pixels import resize_image
from gpulab.h5.images import SourceFile
from gpulab.masks.predict import Predictor
from gpulab.masks.sources import FileSource, Sample, open_part_source
from gpulab.masks.windows import Fit, Merger, cut, make_plan
from gpulab.models.metadata import ModelMetadata
from gpulab.models.session import open_model
from gpulab.testing import onnx_models as tiny
from gpulab.testing.datasets import write_arrays


@settings(deadline=None, max_examples=150)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    mode=st.sampled_from(["auto", "pad", "tile"]),
    tile=st.integers(1, 64),
    overlap=st.floats(0, 0.9),
    multiple=st.sampled_from([1, 2, 16]),
    fixed=st.sampled_from([(None, None), (32, 32), (None, 24), (96, 96)]),
)
def test_cutting_and_merging_gives_the_image_back(
    height: int, width: int, mode: Any, tile: int, overlap: float, multiple: int, fixed: Any
) -> None:
    image = np.random.default_rng(1).random((height, width, 2), dtype=np.float32)
    fit = Fit(mode, tile, overlap)
    too_large = any(f and n > f for n, f in zip((height, width), fixed, strict=True))
    if mode == "pad" and too_large:
        with pytest.raises(InputError, match="choose tiling"):
            make_plan(height, width, fit, fixed, multiple)
        return
    plan = make_plan(height, width, fit, fixed, multiple)
    windows = cut(image, plan)
    for side, demanded in zip(plan.window, fixed, strict=True):
        assert side == demanded if demanded else side % multiple == 0
    merger = Merger(plan)
    for number, window in reversed(list(enumerate(windows))):
        assert window.shape == (*plan.window, 2)
        merger.add(number, window)
    np.testing.assert_allclose(merger.result(), image, atol=1e-5)


def test_auto_pads_what_fits_and_tiles_what_does_not() -> None:
    assert len(make_plan(100, 90, Fit(), (128, 128)).starts) == 1
    assert len(make_plan(129, 90, Fit(), (128, 128)).starts) == 2
    assert make_plan(100, 90, Fit(), multiple=16).window == (112, 96)
    large = make_plan(2000, 1100, Fit())
    assert large.window == (512, 512) and len(large.starts) > 8
    assert "windows of 512" in large.words
    assert make_plan(64, 64, Fit(), multiple=16).words == "whole, as they are"
    assert make_plan(60, 64, Fit(), multiple=16).words.startswith("padded to 64")


def identity_model(tmp_path: Path, shape: Any = tiny.FREE) -> Any:
    path = tmp_path / "identity.onnx"
    tiny.save(
        tiny.make_model([tiny.node("Identity", ["image"], ["mask"])], image=shape, mask=shape), path
    )
    return open_model(path, "identity", channels=1)


@pytest.mark.parametrize("shape", [tiny.FREE, (None, 32, 24, 1), (2, 1, 32, 32)])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_samples_of_any_size_come_back_in_order(tmp_path: Path, shape: Any, batch: int) -> None:
    model = identity_model(tmp_path, shape)
    random = np.random.default_rng(0)
    sizes = [(32, 24), (40, 70), (40, 70), (5, 3), (33, 31), (32, 24)]
    samples = [
        Sample(n, f"s{n}", random.random((*size, 1), dtype=np.float32), None)
        for n, size in enumerate(sizes)
    ]
    predictor = Predictor(model, Fit(tile=16), batch)
    done = list(predictor.run(samples))
    assert [sample.number for sample, _ in done] == list(range(6))
    for sample, probabilities in done:
        assert probabilities.shape == (*sample.image.shape[:2], 2)
        np.testing.assert_allclose(probabilities[..., 1:], sample.image, atol=1e-5)
    assert sum(predictor.plans.values()) == 6


@pytest.mark.parametrize("shape", [tiny.FREE, (None, 30, 20, 1)])
def test_images_are_resized_for_the_model_and_back(tmp_path: Path, shape: Any) -> None:
    model = identity_model(tmp_path, shape)
    if shape == tiny.FREE:  # otherwise the size that it demands counts
        model.metadata = ModelMetadata(image_size=(30, 20))
    random = np.random.default_rng(0)
    sizes = [(30, 20), (61, 45), (15, 20), (30, 20)]
    samples = [
        Sample(n, f"s{n}", random.random((*size, 1), dtype=np.float32), None)
        for n, size in enumerate(sizes)
    ]
    predictor = Predictor(model, Fit("resize"), 3)
    for sample, probabilities in predictor.run(samples):
        size = sample.image.shape[:2]
        wanted = sample.image
        if size != (30, 20):
            wanted = resize_image(resize_image(sample.image, (30, 20)), size)
        np.testing.assert_allclose(probabilities[..., 1:], wanted, atol=1e-6)
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    assert predictor.plans == {"whole, as they are": 2, "resized to 30 × 20 and back": 2}
    assert predictor.seen.size == (30, 20)


def test_resized_images_may_still_be_padded(tmp_path: Path) -> None:
    model = identity_model(tmp_path)
    model.metadata, model.multiple = ModelMetadata(image_size=(30, 20), spatial_multiple=16), 16
    sample = Sample(0, "s", np.random.default_rng(0).random((60, 60, 1), dtype=np.float32), None)
    predictor = Predictor(model, Fit("resize"), 1)
    ((_, probabilities),) = predictor.run([sample])
    assert probabilities.shape == (60, 60, 2)
    (words,) = predictor.plans
    assert words == "resized to 30 × 20 and back, padded to 32 × 32 by reflection"


def test_a_model_that_names_no_size_is_not_resized_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'identity' takes images of any size and does not say"):
        Predictor(identity_model(tmp_path), Fit("resize"), 1)


def test_nothing_to_predict_gives_nothing(tmp_path: Path) -> None:
    assert list(Predictor(identity_model(tmp_path), Fit(), 4).run([])) == []


def test_a_part_streams_its_samples(tmp_path: Path) -> None:
    images = np.arange(5 * 6 * 4, dtype=np.uint16).reshape(5, 6, 4, 1)
    masks = (images[..., 0] % 3 == 0).astype(np.uint8) * 255
    path = tmp_path / "part.h5"
    write_arrays(path, {"pictures": images, "painted": masks})
    with open_part_source(path, "pictures", "painted") as source:
        samples = list(source)
        assert (source.size, source.channels, source.classes) == ((6, 4), 1, 2)
        np.testing.assert_array_equal(source.read(3).image, samples[3].image)
        assert samples[3].name == source.names[3]
        assert samples[4].truth is not None and set(np.unique(samples[4].truth)) == {0, 1}
    with (
        pytest.raises(InputError, match=r"images.*painted"),
        open_part_source(path, "images", None),
    ):
        pass


def write_png(path: Path, values: Any) -> SourceFile:
    from PIL import Image

    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path, format="PNG")
    role = "mask" if path.name.startswith("mask") else "image"
    return SourceFile(path.stem.split("-")[1], path, role)


def test_image_files_of_differing_sizes_with_masks(tmp_path: Path) -> None:
    import tifffile

    first = write_png(tmp_path / "image-a.png", np.full((5, 7), 9))
    mask = write_png(tmp_path / "mask-a.png", np.eye(5, 7) * 255)
    stack = tmp_path / "b.tif"
    pages = np.arange(3 * 4 * 4, dtype=np.uint16).reshape(3, 4, 4)
    tifffile.imwrite(stack, pages, photometric="minisblack")
    mask_stack = tmp_path / "mb.tif"
    tifffile.imwrite(mask_stack, np.zeros((3, 4, 4), dtype=np.uint8), photometric="minisblack")
    source = FileSource(
        [first, SourceFile("b.tif", stack)],
        [SourceFile("b.tif", mask_stack, "mask"), mask],
    )
    assert source.names == ["a", "b_1", "b_2", "b_3"]
    assert (source.size, source.classes, source.channels) == (None, 2, 1)
    samples = list(source)
    assert samples[0].truth is not None and samples[0].truth.sum() == 5
    np.testing.assert_array_equal(source.read(2).image, samples[2].image)
    assert samples[3].image[0, 0, 0] == 32


def test_masks_that_do_not_fit_are_named(tmp_path: Path) -> None:
    image = write_png(tmp_path / "image-a.png", np.zeros((5, 7)))
    small = write_png(tmp_path / "mask-a.png", np.zeros((5, 6)))
    with pytest.raises(InputError, match="5 x 6 pixels but its image has 5 x 7"):
        FileSource([image], [small])
    colour = write_png(tmp_path / "mask-a.png", np.zeros((5, 7, 3)))
    with pytest.raises(InputError, match="3 channels"):
        FileSource([image], [colour])
    odd = write_png(tmp_path / "mask-a.png", np.full((5, 7), 200))
    with pytest.raises(InputError, match="200"):
        FileSource([image], [odd])
    with pytest.raises(InputError, match="differ in their number of channels"):
        FileSource([image, write_png(tmp_path / "image-c.png", np.zeros((5, 7, 3)))], None)
    with pytest.raises(InputError, match="empty"):
        FileSource([], None)
