"""Running an exported model and comparing it with the original."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpulab.models.runtime import make_session, runtime_errors, thread_count
from gpulab.notebook.capture.guard import error_text

Array = np.ndarray[Any, Any]
# Above this, relative to the largest number of the original, the models do not compute the same.
TOLERANCE = 1e-3
_ERRORS: tuple[type[Exception], ...] = (KeyError, TypeError)
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}


@dataclass(frozen=True)
class Trial:
    """What the original model made of sample data.

    Attributes:
        feeds: Data for each input, in the model's order.
        expected: What the original gave, in the order of the outputs; None for an output that
            there is nothing to compare with.
        source: Which data these are, for the table.
        doubt: What the comparison cannot show, for the table.
    """

    feeds: list[Array]
    expected: list[Array | None]
    source: str
    doubt: str = ""


@dataclass(frozen=True)
class Verdict:
    """How an exported model did.

    Attributes:
        note: In words, for the table.
        difference: Largest absolute difference of any number; None where nothing was compared.
        agrees: Whether it computes what the original does.
    """

    note: str
    difference: float | None = None
    agrees: bool = field(default=False)


def compare(path: Path, trial: Trial) -> Verdict:
    """Run an exported model under ONNX Runtime on the CPU and compare it with the original."""
    try:
        session = make_session(path.read_bytes(), gpu=False, threads=thread_count())
        inputs = session.get_inputs()
        if len(inputs) != len(trial.feeds):
            counts = f"{len(inputs)} inputs in place of {len(trial.feeds)}"
            return Verdict(f"not compared with the original: it takes {counts}")
        feeds: dict[str, Any] = {
            port.name: np.asarray(feed).astype(_TYPES[port.type])
            for port, feed in zip(inputs, trial.feeds, strict=True)
        }
        found = session.run(None, feeds)
    except (*_ERRORS, *runtime_errors()) as error:
        return Verdict(f"not compared with the original: {error_text(error)}")
    return _judge([np.asarray(each) for each in found], trial)


def _judge(found: list[Array], trial: Trial) -> Verdict:
    difference, disagreeing, labels, scale, compared = 0.0, 0, 0, 1.0, False
    for got, wanted in zip(_apart(found, trial.expected), trial.expected, strict=False):
        if wanted is None or not wanted.size:
            continue
        if got.ndim == 2 and got.shape[1] == 2 and wanted.ndim == 1:
            # Scores of two classes where the original gives one: which has its sign is open.
            got = min(got.T, key=partial(_largest, wanted=wanted))
        if got.size != wanted.size:
            shapes = f"{got.shape} in place of {wanted.shape}"
            return Verdict(f"not compared with the original: an output has the shape {shapes}")
        compared = True
        got = got.reshape(wanted.shape)
        if wanted.dtype.kind in "iu" and got.dtype.kind == "f":
            wanted = wanted.astype(np.float64)  # counts, which ONNX gives as broken numbers
        if wanted.dtype.kind not in "fc":
            labels += wanted.size
            disagreeing += int(np.sum(got.astype(str) != wanted.astype(str)))
            continue
        finite = np.abs(wanted[np.isfinite(wanted)])
        scale = max(scale, float(finite.max(initial=0.0)))
        difference = max(difference, _largest(got, wanted))
    if not compared:
        return Verdict("not compared with the original: no output has a counterpart")
    return _word(difference, disagreeing, labels, scale, trial)


def _apart(found: list[Array], expected: list[Array | None]) -> list[Array]:
    """Split probabilities of several targets that the exported model joins in one output."""
    joined = len(found) == 2 and len(expected) > 2 and found[1].ndim == 3
    return [found[0], *found[1]] if joined and len(found[1]) == len(expected) - 1 else found


def _largest(got: Array, wanted: Array) -> float:
    """Return the largest absolute difference; infinite where only one of two is a number."""
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        gaps = np.where(same, 0.0, np.abs(got.astype(wanted.dtype) - wanted))
    return float(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf).max(initial=0.0))


def _word(difference: float, disagreeing: int, labels: int, scale: float, trial: Trial) -> Verdict:
    parts = []
    if labels:
        equal = f"all {labels} labels equal"
        parts.append(f"{disagreeing} of {labels} labels differ" if disagreeing else equal)
    parts.append(f"largest difference to the original {difference:.2g}, on {trial.source}")
    agrees = difference <= TOLERANCE * scale and disagreeing == 0
    if not agrees:
        parts.append("do not rely on this file before you have looked at it")
    if trial.doubt:
        parts.append(trial.doubt)
    return Verdict(", ".join(parts), difference, agrees)
