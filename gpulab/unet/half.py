"""The exported model once more, with 16-bit numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpulab.models.overlap import ProbabilityHistogram
from gpulab.models.runtime import make_session, thread_count
from gpulab.unet.data import Samples, predict_samples
from gpulab.unet.network import INPUT_NAME, OUTPUT_NAME
from gpulab.unet.upsampling import drop_unused

if TYPE_CHECKING:
    import onnx

MOST_COMPARED = 64  # minutes for two cores at 512 × 512 with 64 filters


def write_half(source: Path, target: Path) -> None:
    """Write a model of `export_onnx` with weights and feature maps in float16.

    Images and probabilities stay float32, and so do the first and the last steps: raw 12-bit grey
    values and their squares overflow float16 (65504), and it cannot tell probabilities near 1
    apart.

    Args:
        source: The float32 model.
        target: Where to write; metadata are those of `source`.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load(source)
    nodes = list(model.graph.node)
    places = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    kept = [node.name for node in (*nodes[: places[0]], *nodes[places[-1] + 1 :])]
    half = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=[], node_block_list=kept
    )
    _skip_round_trips(half.graph)
    OnnxModel(half).topological_sort()  # the converter puts what it adds at the end
    drop_unused(half.graph)
    onnx.checker.check_model(half, full_check=True)
    onnx.save(half, target)


def _skip_round_trips(graph: onnx.GraphProto) -> None:
    """Let nothing go to float16 and back at once: that would lose what float32 was kept for."""
    import onnx

    source = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT16
    }
    back = {
        node.output[0]: source[node.input[0]]
        for node in graph.node
        if node.op_type == "Cast" and node.input[0] in source
    }
    outputs = {value.name for value in graph.output}
    # What the graph gives keeps its name; elsewhere the tensor before the trip takes its place.
    names = {before: name for name, before in back.items() if name in outputs}
    names.update({name: before for name, before in back.items() if name not in outputs})
    nodes = [node for node in graph.node if node.output[0] not in back]
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)


def dice_of(path: Path, samples: Samples, threshold: float, multiple: int) -> float:
    """Return the mean foreground Dice of an exported model on `MOST_COMPARED` samples at most.

    It is computed on the processor: a GPU's memory is still the trained model's.

    Args:
        path: The ONNX model.
        samples: What to predict, evenly chosen where there are more.
        threshold: Probability above which a pixel is foreground.
        multiple: Height and width are padded to multiples of this, and cut back.
    """
    session = make_session(path.read_bytes(), gpu=False, threads=thread_count())
    histogram = ProbabilityHistogram(samples.classes)

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        (output,) = session.run([OUTPUT_NAME], {INPUT_NAME: images})
        return np.asarray(output, np.float32)

    chosen = samples.evenly(MOST_COMPARED)
    for _, output, labels in predict_samples(predict, samples, chosen, 1, multiple):
        histogram.add(labels, output)
    return histogram.mean_dice(threshold)
