"""Which variables are models, and their way to a checked ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.models.check import check_model
from gpulab.notebook.capture.compare import Trial, Verdict, compare
from gpulab.notebook.capture.foreign import is_instance
from gpulab.notebook.capture.guard import UnsaveableError
from gpulab.notebook.capture.keras_models import export_keras, export_saved_model, export_tf_keras
from gpulab.notebook.capture.samples import Samples
from gpulab.notebook.capture.sklearn_models import export_sklearn
from gpulab.notebook.capture.torch_models import export_torch

Exporter = Callable[[Any, Path, Samples], Trial | Verdict]


def exporter_of(value: object) -> Exporter | None:
    """Return how a value is exported, None for anything that is no model.

    What counts is the class itself, looked up in the libraries that the notebook imported; a
    class that merely has such a name is no model.
    """
    if is_instance(value, "keras", "Model"):
        return export_keras
    if is_instance(value, "tf_keras", "Model"):
        return export_tf_keras
    if is_instance(value, "torch.nn", "Module"):
        is_loss = is_instance(value, "torch.nn.modules.loss", "_Loss")
        return None if is_loss else export_torch
    if is_instance(value, "sklearn.base", "BaseEstimator"):
        return export_sklearn
    trackable = "tensorflow.python.trackable.autotrackable"
    is_trackable = is_instance(value, trackable, "AutoTrackable")
    # Looked up without running a property of the user's class.
    if is_trackable and "signatures" in object.__getattribute__(value, "__dict__"):
        return export_saved_model
    return None


def export_model(export: Exporter, value: object, path: Path, samples: Samples) -> Verdict:
    """Write a model as ONNX under its final name only once it is whole and valid.

    Args:
        export: From `exporter_of`.
        value: The model.
        path: Where the file shall be.
        samples: Data of the notebook to compare on.

    Returns:
        How the file compares with the original.

    Raises:
        UnsaveableError: It cannot be converted.
        Exception: Whatever the libraries raise.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        outcome = export(value, unfinished, samples)
        try:
            check_model(unfinished, path.stem)
        except InputError as error:
            raise UnsaveableError(str(error)) from error
        verdict = outcome if isinstance(outcome, Verdict) else compare(unfinished, outcome)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return verdict
