"""Tiny ONNX models, good and bad, made by a program: each is a few hundred bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.models.metadata import ModelMetadata, write_metadata
from gpulab.testing.datasets import write_arrays
from gpulab.testing.files import test_file

if TYPE_CHECKING:
    import onnx

OPSET = 17
Shape = Sequence[int | str | None]
FREE: Shape = ("batch", "height", "width", 1)


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **more: Any) -> Any:
    """Make a node of a graph; keyword arguments are its attributes."""
    import onnx

    return onnx.helper.make_node(operator, list(inputs), list(outputs), **more)


def constant(name: str, values: Any, dtype: str = "float32") -> Any:
    """Make a constant of a graph."""
    import numpy as np
    import onnx

    return onnx.numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def make_model(
    nodes: Sequence[Any],
    *,
    constants: Sequence[Any] = (),
    image: Shape = FREE,
    mask: Shape | None = ("batch", "height", "width", 2),
    dtype: str = "FLOAT",
    **more: Any,
) -> onnx.ModelProto:
    """Make a model with the input `image` and the output `mask`.

    Args:
        nodes: Nodes of the graph.
        constants: Initialisers.
        image: Shape of the input.
        mask: Shape of the output.
        dtype: Element type of both, as ONNX calls it.
        more: Goes to `onnx.helper.make_model`, such as `functions`.
    """
    import onnx

    kind = getattr(onnx.TensorProto, dtype)
    graph = onnx.helper.make_graph(
        list(nodes),
        "tiny",
        [onnx.helper.make_tensor_value_info("image", kind, image)],
        [onnx.helper.make_tensor_value_info("mask", kind, mask)],
        list(constants),
    )
    domains = {n.domain for n in nodes if n.domain}
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    opsets += [onnx.helper.make_opsetid(domain, 1) for domain in sorted(domains)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, producer_name="test", **more)
    model.ir_version = 8
    return model


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model, weights inside."""
    path.write_bytes(model.SerializeToString())


def band_model(low: float, high: float, *, image: Shape = FREE) -> onnx.ModelProto:
    """Make a channels-last model whose foreground are the pixels with values from low to high.

    Its two channels are near 1 and 0: sigmoid(10 (value - low)) · sigmoid(10 (high - value)).
    """
    constants = [
        constant("steep", 10.0),
        constant("low", low),
        constant("high", high),
        constant("one", 1.0),
    ]
    nodes = [
        node("Sub", ["image", "low"], ["above"]),
        node("Sub", ["high", "image"], ["below"]),
        node("Mul", ["above", "steep"], ["above_steep"]),
        node("Mul", ["below", "steep"], ["below_steep"]),
        node("Sigmoid", ["above_steep"], ["is_above"]),
        node("Sigmoid", ["below_steep"], ["is_below"]),
        node("Mul", ["is_above", "is_below"], ["foreground"]),
        node("Sub", ["one", "foreground"], ["background"]),
        node("Concat", ["background", "foreground"], ["mask"], axis=-1),
    ]
    return make_model(nodes, constants=constants, image=image, mask=(*image[:3], 2))


def _write_band(path: Path, low: float, high: float, metadata: ModelMetadata) -> None:
    save(band_model(low, high), path)
    common = replace(
        metadata,
        class_names=("background", "lesion"),
        sure_dice=0.9,
        spatial_multiple=16,
        grey_values=(49.1, 56.6),
        training_data_sha256="0" * 64,
        seed=1,
        versions={"onnx": "test"},
    )
    write_metadata(path, common)


@test_file("predict/model_bce.onnx")
def model_bce(path: Path) -> None:
    """Write a model of ours that takes grey values from 80 to 125 for lesions.

    It says that it learnt from images of 256 x 256 pixels.
    """
    _write_band(path, 80.0, 125.0, ModelMetadata(threshold=0.4, loss="BCE", image_size=(256, 256)))


@test_file("predict/model_tv.onnx")
def model_tv(path: Path) -> None:
    """Write a second model of ours, with a narrower band.

    It says that it learnt from images like those of `part_test.h5`, mirrored as well.
    """
    metadata = ModelMetadata(loss="BCE + TV", image_size=(64, 64), mirrored=True)
    _write_band(path, 90.0, 115.0, metadata)


@test_file("predict/model_exact.onnx")
def model_exact(path: Path) -> None:
    """Write a model for `part_exact.h5`: the value 100 is foreground, others are not."""
    save(band_model(95.0, 105.0), path)


@test_file("predict/part_exact.h5")
def part_exact(path: Path) -> None:
    """Write images whose scores with `model_exact.onnx` are known.

    A bright square of 16 x 16 pixels on black in the first three images; the true mask is the same
    square (Dice 1), the square shifted by 4 columns (Dice 0.75, IoU 0.6), and none (Dice 0). In the
    fourth both are empty.
    """
    import numpy as np

    images = np.zeros((4, 40, 48, 1), dtype=np.uint8)
    masks = np.zeros((4, 40, 48), dtype=np.uint8)
    images[:3, 12:28, 16:32] = 100
    masks[0, 12:28, 16:32] = 1
    masks[1, 12:28, 20:36] = 1
    ids = np.array(["same", "shifted", "not there", "empty"])
    write_arrays(path, {"images": images, "masks": masks, "sample_ids": ids})


@test_file("predict/model_foreign_logits.onnx")
def model_foreign_logits(path: Path) -> None:
    """Write a model from elsewhere: channels first, 32 x 32 pixels, one channel of logits."""
    nodes = [node("Sub", ["image", "middle"], ["mask"])]
    constants = [constant("middle", [[[[80.0]]]])]
    shape = ("batch", 1, 32, 32)
    save(make_model(nodes, constants=constants, image=shape, mask=shape), path)


@test_file("predict/bad_custom_operator.onnx")
def bad_custom_operator(path: Path) -> None:
    """Write a model that needs an operator of its own."""
    save(make_model([node("Secret", ["image"], ["mask"], domain="acme.example")]), path)


@test_file("predict/bad_external_data.onnx")
def bad_external_data(path: Path) -> None:
    """Write a model whose weight would be read from another file."""
    import onnx

    weight = constant("weight", [1.0])
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    model = make_model([node("Mul", ["image", "weight"], ["mask"])], mask=FREE)
    model.graph.initializer.append(weight)
    save(model, path)


@test_file("predict/bad_rank.onnx")
def bad_rank(path: Path) -> None:
    """Write a model that takes a volume with five axes."""
    shape = (1, 1, "depth", "height", "width")
    save(make_model([node("Sigmoid", ["image"], ["mask"])], image=shape, mask=shape), path)


@test_file("predict/bad_classifier.onnx")
def bad_classifier(path: Path) -> None:
    """Write a model that gives one answer an image."""
    nodes = [node("ReduceMean", ["image"], ["mask"], axes=[1, 2], keepdims=0)]
    save(make_model(nodes, mask=("batch", 1)), path)


@test_file("predict/bad_smaller_mask.onnx")
def bad_smaller_mask(path: Path) -> None:
    """Write a model that gives masks of half the image's size."""
    nodes = [node("MaxPool", ["image"], ["mask"], kernel_shape=[2, 2], strides=[2, 2])]
    shape = ("batch", 1, "height", "width")
    save(make_model(nodes, image=shape, mask=("batch", 1, "h", "w")), path)


@test_file("predict/bad_colour.onnx")
def bad_colour(path: Path) -> None:
    """Write a good model for colour images, which grey images do not fit."""
    shape = ("batch", "height", "width", 3)
    save(make_model([node("Sigmoid", ["image"], ["mask"])], image=shape, mask=shape), path)


@test_file("predict/bad_text.onnx")
def bad_text(path: Path) -> None:
    """Write a text under the name of a model."""
    path.write_text("This is no model.\n", encoding="utf-8")


@test_file("predict/bad_logits.onnx")
def bad_logits(path: Path) -> None:
    """Write a model whose values are no probabilities, with its metadata saying nothing of it."""
    save(make_model([node("Identity", ["image"], ["mask"])], mask=FREE), path)


@test_file("predict/exact_mask.tiff")
def exact_mask(path: Path) -> None:
    """Write the mask that `model_exact.onnx` gives for the first image of `part_exact.h5`."""
    import numpy as np

    from gpulab.masks.write import write_tiff

    mask = np.zeros((40, 48), dtype=np.uint8)
    mask[12:28, 16:32] = 1
    write_tiff(path, mask, classes=2)


def _picture(path: Path, size: tuple[int, int], value: int) -> None:
    import numpy as np
    from PIL import Image

    values = np.zeros(size, dtype=np.uint8)
    values[3:9, 4:12] = value
    Image.fromarray(values).save(path, format="PNG")


@test_file("predict/images/a.png")
def image_a(path: Path) -> None:
    """Write an image for `model_exact.onnx`."""
    _picture(path, (20, 30), 100)


@test_file("predict/images/b.png")
def image_b(path: Path) -> None:
    """Write an image of another size."""
    _picture(path, (50, 17), 100)


@test_file("predict/masks/a.png")
def mask_a(path: Path) -> None:
    """Write the true mask of `image_a.png`."""
    _picture(path, (20, 30), 255)


@test_file("predict/masks/b.png")
def mask_b(path: Path) -> None:
    """Write the true mask of `image_b.png`."""
    _picture(path, (50, 17), 255)
