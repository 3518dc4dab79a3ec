"""PyTorch modules to ONNX, on an input that their `forward` accepts."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpulab.notebook.capture.compare import Trial
from gpulab.notebook.capture.foreign import is_instance
from gpulab.notebook.capture.guard import UnsaveableError
from gpulab.notebook.capture.samples import RANDOM, Samples, random_rows

_ROWS = 4
_MAX_CANDIDATES = 40
_OPSET = 18


def export_torch(module: Any, path: Path, samples: Samples) -> Trial:
    """Export a module with a free number of rows.

    The input is its `example_input_array`, else the first data of the notebook that `forward`
    takes, else random numbers that fit its first layer.

    Raises:
        UnsaveableError: No input was found that it takes.
        Exception: Whatever PyTorch raises for what it cannot convert.
    """
    torch = sys.modules["torch"]
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            source, arguments, outputs = _find_input(module, samples)
            doubt = _export(module, arguments, path)
    finally:
        module.train(was_training)
    feeds = [_numpy(each) for each in arguments]
    count = f"{len(feeds[0])} rows of {source}" if feeds[0].ndim else source
    return Trial(feeds, [_numpy(each) for each in _flat(outputs)], count, doubt)


def _find_input(module: Any, samples: Samples) -> tuple[str, tuple[Any, ...], Any]:
    """Return the first input that `forward` takes, and what it gives."""
    torch = sys.modules["torch"]
    device, dtype = _placement(module)
    last = ""
    for number, (source, arguments) in enumerate(_candidates(module, samples)):
        if number >= _MAX_CANDIDATES:
            break
        placed = tuple(
            each.to(device, dtype) if each.is_floating_point() else each.to(device)
            for each in (torch.as_tensor(argument) for argument in arguments)
        )
        try:
            outputs = module(*placed)
        except Exception as error:  # noqa: BLE001  forward is the user's and may raise anything
            last = f"{type(error).__name__}"
            continue
        if _flat(outputs):
            return source, placed, outputs
        last = "it gives no tensor"
    advice = "give it an attribute example_input_array"
    raise UnsaveableError(f"no data were found that its forward takes ({last or 'none'}), {advice}")


def _candidates(module: Any, samples: Samples) -> Iterator[tuple[str, tuple[Any, ...]]]:
    torch = sys.modules["torch"]
    example = getattr(module, "example_input_array", None)
    if example is not None:
        given = tuple(example) if isinstance(example, tuple | list) else (example,)
        # A single row would become a fixed number of rows.
        single = all(is_instance(e, "torch", "Tensor") and e.ndim and len(e) == 1 for e in given)
        if single:
            yield "example_input_array", tuple(torch.cat([each, each]) for each in given)
        yield "example_input_array", given
    guessed = list(_guesses(module))
    for name, array in (*samples.batches(), *samples.arrays()):
        # Data may fit by chance; those that fit the first layer come first.
        wanted = any(array.ndim == len(g) and array.shape[1] == g[1] for g, _ in guessed)
        if array.dtype.kind in "biuf" and (wanted or not guessed):
            rows = np.ascontiguousarray(array[:_ROWS])
            is_float = rows.dtype.kind == "f" or any(kind == "f" for _, kind in guessed)
            yield name, (torch.as_tensor(rows.astype(np.float32) if is_float else rows),)
    for shape, kind in guessed:
        rows = random_rows(shape, kind, _ROWS)
        yield RANDOM, (torch.as_tensor(rows.astype(np.float32) if kind == "f" else rows),)


def _guesses(module: Any) -> Iterator[tuple[tuple[int | None, ...], str]]:
    """Yield shapes of inputs that the first layer with weights takes."""
    for layer in module.modules():
        if is_instance(layer, "torch.nn", "Linear"):
            yield (None, layer.in_features), "f"
            yield (None, 16, layer.in_features), "f"
            return
        if is_instance(layer, "torch.nn", "Conv1d", "Conv2d", "Conv3d"):
            axes = len(layer.kernel_size)
            for length in (64, 32, 28, 224):
                yield (None, layer.in_channels, *[length] * axes), "f"
            return
        if is_instance(layer, "torch.nn", "Embedding"):
            yield (None, 16), "i"
            return
        if is_instance(layer, "torch.nn", "RNNBase"):
            yield (None, 16, layer.input_size), "f"
            return


def _placement(module: Any) -> tuple[Any, Any]:
    torch = sys.modules["torch"]
    first = next((p for p in module.parameters() if p.is_floating_point()), None)
    return (torch.device("cpu"), torch.float32) if first is None else (first.device, first.dtype)


def _export(module: Any, arguments: tuple[Any, ...], path: Path) -> str:
    """Export with the current exporter where its package is there, else with the older one.

    Returns:
        What is doubtful about the result; empty if nothing is.
    """
    torch = sys.modules["torch"]
    names = [f"input_{number}" for number in range(len(arguments))]
    if importlib.util.find_spec("onnxscript") is not None:
        batch = torch.export.Dim.DYNAMIC
        try:
            torch.onnx.export(
                module,
                arguments,
                str(path),
                dynamo=True,
                external_data=False,
                input_names=names,
                opset_version=_OPSET,
                dynamic_shapes=tuple({0: batch} if each.ndim else {} for each in arguments),
                verbose=False,
            )
            return ""
        except Exception:  # noqa: BLE001  anything that it cannot trace; the older one may
            path.unlink(missing_ok=True)
    pairs = zip(names, arguments, strict=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.onnx.export(
            module,
            arguments,
            str(path),
            dynamo=False,
            input_names=names,
            opset_version=_OPSET,
            dynamic_axes={name: {0: "batch"} for name, each in pairs if each.ndim},
        )
    fixed = any(issubclass(each.category, torch.jit.TracerWarning) for each in caught)
    return "but its choices that depend on the data are fixed as on these" if fixed else ""


def _flat(outputs: Any) -> list[Any]:
    """Return all tensors of what a module gives, in the order of the exported outputs."""
    if is_instance(outputs, "torch", "Tensor"):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, list | tuple):
        return [tensor for each in outputs for tensor in _flat(each)]
    return []


def _numpy(tensor: Any) -> np.ndarray[Any, Any]:
    plain = tensor.detach().cpu()
    if plain.dtype == sys.modules["torch"].bfloat16:
        plain = plain.float()
    return np.asarray(plain.numpy())
