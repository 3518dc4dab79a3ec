"""The exported graph's upsampling without the nodes that cut it to size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

# What "same" padding means for three taps and two steps: n pixels become 2 n + 1 without it, and
# TensorFlow cuts the last.
KERNEL, STRIDES, PADS = [3, 3], [2, 2], [0, 0, 1, 1]


def cut_upsampling(graph: GraphProto) -> None:
    """Let each transposed convolution cut its own output.

    For images of any size, tf2onnx 1.17 lets transposed convolutions compute one row and column too
    many, reckons at run time what to cut and to add, and copies the feature maps twice for it. What
    it reckons is always the same.

    Args:
        graph: A graph of tf2onnx, changed in place. Transposed convolutions of another kind stay as
            they are; `export_onnx` compares the result with Keras.
    """
    import onnx

    consumers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)

    def only(name: str, kind: str) -> NodeProto | None:
        """Return the one node of a kind that takes a tensor as its data."""
        found = [one for one in consumers.get(name, []) if one.op_type == kind]
        return found[0] if len(found) == 1 and found[0].input[0] == name else None

    for node in graph.node:
        if node.op_type != "ConvTranspose" or not _is_ours(node):
            continue
        cut = only(node.output[0], "Slice")
        padded = cut and only(cut.output[0], "Pad")
        if cut is None or padded is None:
            continue
        attributes = [one for one in node.attribute if one.name != "pads"]
        del node.attribute[:]
        node.attribute.extend([*attributes, onnx.helper.make_attribute("pads", PADS)])
        for consumer in consumers[padded.output[0]]:
            consumer.input[:] = [
                node.output[0] if name == padded.output[0] else name for name in consumer.input
            ]
    drop_unused(graph)


def _is_ours(node: NodeProto) -> bool:
    found = {one.name: list(one.ints) for one in node.attribute}
    no_pads = not any(found.get("pads", []))
    return found.get("kernel_shape") == KERNEL and found.get("strides") == STRIDES and no_pads


def drop_unused(graph: GraphProto) -> None:
    """Remove every node whose outputs nothing takes.

    Args:
        graph: A graph whose nodes come after those that they take from, changed in place.
    """
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if not used.isdisjoint(node.output):
            kept.append(node)
            used.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
