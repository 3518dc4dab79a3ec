"""Weights of a run as safetensors, so that another run can go on from them.

The format (https://github.com/huggingface/safetensors) holds numbers and text only: loading an
uploaded file can neither run code nor open another file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gpulab.errors import InputError
from gpulab.unet.network import Architecture

ARCHITECTURE_KEY = "gpulab_architecture"


def _names(model: Any) -> list[str]:
    """Return a name for each weight that does not depend on how many models were made before."""
    names = []
    for number, layer in enumerate(layer for layer in model.layers if layer.weights):
        for weight in layer.weights:
            # The seed of a dropout layer's random numbers is state of the run, not of the model.
            if "seed_generator" not in weight.path:
                names.append(f"{number:03d}.{layer.__class__.__name__}.{weight.name}")
    return names


def _variables(model: Any) -> list[Any]:
    return [
        weight
        for layer in model.layers
        for weight in layer.weights
        if "seed_generator" not in weight.path
    ]


def save_weights(model: Any, architecture: Architecture, path: Path) -> None:
    """Write all weights of the model, float32, with the architecture they belong to."""
    from safetensors.numpy import save_file

    arrays = {
        name: np.ascontiguousarray(variable.numpy(), dtype=np.float32)
        for name, variable in zip(_names(model), _variables(model), strict=True)
    }
    save_file(arrays, path, metadata={ARCHITECTURE_KEY: json.dumps(architecture.as_dict())})
    path.chmod(0o644)  # safetensors writes files that only the owner may read


def read_weights(path: Path, wanted: Architecture) -> dict[str, Any]:
    """Read the weights of an earlier run for a network of the wanted architecture.

    Args:
        path: File written by `save_weights`.
        wanted: Architecture of the network to be trained; its scaling may differ in numbers.

    Returns:
        Arrays by name, float32.

    Raises:
        InputError: The file is no safetensors file of this tool, or of another architecture.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"The weights to continue from are no safetensors file ({error}); choose the weights "
            "output of an earlier unet_train job"
        ) from error
    try:
        found = json.loads(metadata[ARCHITECTURE_KEY])
    except (KeyError, ValueError) as error:
        raise InputError(
            "The weights to continue from do not say which network they belong to; choose the "
            "weights output of an earlier unet_train job"
        ) from error
    _compare(found, wanted)
    return arrays


def _compare(found: object, wanted: Architecture) -> None:
    values = found if isinstance(found, dict) else {}
    for name in ("channels", "classes", "base_filters", "depth", "batch_norm", "scaling"):
        if values.get(name) != getattr(wanted, name):
            raise InputError(
                f"The weights to continue from belong to a network with {name} = "
                f"{values.get(name)}, but this job asks for {getattr(wanted, name)}; "
                "choose the same network settings and data of the same kind"
            )


def load_weights(model: Any, arrays: dict[str, Any]) -> None:
    """Put arrays read by `read_weights` into the model.

    Raises:
        InputError: A weight is missing, has another shape, or is not finite.
    """
    for name, variable in zip(_names(model), _variables(model), strict=True):
        array = arrays.get(name)
        if array is None or array.shape != tuple(variable.shape):
            raise InputError(
                f"The weights to continue from lack {name} of shape {tuple(variable.shape)}; "
                "choose the weights output of an earlier unet_train job with the same settings"
            )
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(
                f"The weights to continue from hold values in {name} that are no finite numbers; "
                "train anew without them"
            )
        variable.assign(array)
