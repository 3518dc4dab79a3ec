"""Judges and runs models that were captured, for the tests of capturing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

CLOSE = 1e-4


def run(folder: Path, row: dict[str, Any], *feeds: Any) -> list[Any]:
    """Run a saved model with ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(folder / "models" / row["where"])
    names = [port.name for port in session.get_inputs()]
    return list(session.run(None, dict(zip(names, feeds, strict=True))))


def is_good(row: dict[str, Any]) -> bool:
    return bool(
        row["saved"] == "model"
        and row["difference"] is not None
        and row["difference"] < CLOSE
        and "do not rely" not in row["note"]
        and "not compared" not in row["note"]
    )
