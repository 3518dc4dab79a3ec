"""Looking at an untrusted ONNX file before anything of it is run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.errors import InputError
from gpulab.models.metadata import ModelMetadata, read_metadata

if TYPE_CHECKING:
    import onnx

GIB = 1 << 30
# A protobuf message ends at 2 GiB; a larger model keeps its weights in other files.
MAX_FILE_BYTES = 2 * GIB - 1
MAX_WEIGHT_BYTES = 4 * GIB
# ONNX, classical learners, and the contrib operators that ONNX Runtime is built with: quantised and
# optimised models use them, and they need no other code.
KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
# Its attributes name a file of compiled code, which an execution provider would open.
REFUSED_OPERATORS = frozenset({"EPContext"})


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: Its name.
        dtype: Its element type as NumPy calls it, such as `float32`.
        shape: Length of each axis, None where it is free; None where even the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class GraphFacts:
    """What a checked model declares about itself.

    Attributes:
        inputs: What must be fed.
        outputs: What comes out.
        metadata: The contract, for models of this package.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: ModelMetadata | None


def check_model(path: Path, label: str) -> GraphFacts:
    """Check an untrusted model without running it.

    Args:
        path: The file.
        label: What the user calls this model, for messages.

    Raises:
        InputError: It is too large, no ONNX, or needs what is not in the file.
    """
    import onnx

    model = _load(path, label)
    for tensor in _tensors(model):
        _check_tensor(tensor, label)
    _check_weight_bytes(model, label)
    _check_operators(model, label)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The model {label!r} is not valid ONNX ({first_line(error)}), export it again"
        ) from error
    weights = {tensor.name for tensor in model.graph.initializer}
    return GraphFacts(
        inputs=tuple(_port(v, label) for v in model.graph.input if v.name not in weights),
        outputs=tuple(_port(v, label) for v in model.graph.output),
        metadata=read_metadata(model, f"model {label!r}"),
    )


def first_line(error: BaseException, length: int = 160) -> str:
    """Return the first line of an error's text, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= length else text[: length - 1] + "…"


def _load(path: Path, label: str) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"The model {label!r} cannot be read: {error.strerror}") from error
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"The model {label!r} has {size / GIB:.1f} GiB, more than the 2 GiB of an ONNX file "
            f"that holds its own weights"
        )
    refusal = InputError(
        f"The model {label!r} is no ONNX model, give a file of the type onnx as Train a U-Net or "
        f"another exporter writes it"
    )
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise refusal from error
    # Arbitrary bytes can be a valid but meaningless message.
    if model.ir_version < 1 or not model.graph.node or not model.graph.output:
        raise refusal
    return model


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Yield the main graph and every body of a control-flow operator."""
    waiting = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    waiting += [graph for node in nodes for graph in _bodies(node)]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [body for node in graph.node for body in _bodies(node)]


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in _graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _sparse_tensors(model: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    for graph in _graphs(model):
        yield from graph.sparse_initializer
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor
            yield from attribute.sparse_tensors


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in _graphs(model):
        yield from graph.initializer
    for sparse in _sparse_tensors(model):
        yield sparse.values
        yield sparse.indices
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_tensor(tensor: onnx.TensorProto, label: str) -> None:
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise InputError(
            f"The model {label!r} keeps weights in external data, which is another file and is "
            f"not opened, export it with all weights inside the ONNX file"
        )


def _check_weight_bytes(model: onnx.ModelProto, label: str) -> None:
    """Bound what the weights take once unpacked: a sparse tensor declares any size for free."""
    dense = sum(_size(tensor.dims) * 8 for tensor in _tensors(model) if not tensor.raw_data)
    dense += sum(len(tensor.raw_data) for tensor in _tensors(model))
    dense += sum(_size(sparse.dims) * 8 for sparse in _sparse_tensors(model))
    if dense > MAX_WEIGHT_BYTES:
        raise InputError(
            f"The model {label!r} declares weights of {dense / GIB:.1f} GiB, more than the "
            f"{MAX_WEIGHT_BYTES // GIB} GiB that are loaded"
        )


def _size(dims: Any) -> int:
    return math.prod(abs(int(length)) for length in dims)


def _check_operators(model: onnx.ModelProto, label: str) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model):
        if (node.domain, node.op_type) in own:
            continue
        if node.domain not in KNOWN_DOMAINS or node.op_type in REFUSED_OPERATORS:
            name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            raise InputError(
                f"The model {label!r} needs the custom operator {name[:80]!r}, which is no part of "
                f"ONNX, export it with standard operators alone"
            )


def _port(value: onnx.ValueInfoProto, label: str) -> Port:
    import onnx

    if value.type.WhichOneof("value") != "tensor_type":
        raise InputError(
            f"The model {label!r} takes or gives {value.name[:80]!r}, which is no tensor, give a "
            f"model that turns an image into a mask"
        )
    tensor = value.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except (KeyError, ValueError):
        dtype = "unknown"
    if not tensor.HasField("shape"):
        return Port(value.name, dtype, None)
    lengths = (
        int(axis.dim_value) if axis.HasField("dim_value") and axis.dim_value > 0 else None
        for axis in tensor.shape.dim
    )
    return Port(value.name, dtype, tuple(lengths))
