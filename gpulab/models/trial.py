"""A first run of an untrusted model, in a process of its own with bounded memory and time.

A model is a program: it may declare a huge constant, loop for ever, or crash the runtime. What goes
wrong in the trial ends the trial alone, and the user gets a sentence. The trial also tells which
sizes a model with free height and width really takes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpulab.errors import InputError
from gpulab.models.layout import ImagePort
from gpulab.models.runtime import is_out_of_memory, make_session, runtime_errors

TIME_LIMIT_S = 300
MEBIBYTE = 1 << 20
LEAST_MEMORY = 4096 * MEBIBYTE
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
# Three times a multiple: an odd number of tiles shows whether every halving comes out even.
TRIAL_TILES = 3


@dataclass(frozen=True)
class Attempt:
    """One trial run.

    Attributes:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        shapes: Shape of each output by its name; empty when the run failed.
        error: What ONNX Runtime said when it failed.
    """

    height: int
    width: int
    shapes: dict[str, tuple[int, ...]]
    error: str = ""


def try_model(
    path: Path, port: ImagePort, sizes: Sequence[tuple[int, int]], channels: int, label: str
) -> list[Attempt]:
    """Run the model on blank images of growing sizes until it gives a mask of the image's size.

    Args:
        path: A model that passed `check_model`.
        port: Its image input.
        sizes: Heights and widths in pixels to try, in this order.
        channels: Channels to feed.
        label: What the user calls the model.

    Returns:
        The attempts; the last one succeeded if any did.

    Raises:
        InputError: The model cannot be loaded, crashes, or takes too much memory or time.
    """
    request = {
        "path": str(path),
        "port": asdict(port),
        "sizes": list(sizes),
        "channels": channels,
        "memory": _memory_limit(path),
    }
    # This package must be found from the job's folder, and nothing that lies in that folder.
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gpulab.models.trial"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"The model {label!r} did not finish a small trial run within {TIME_LIMIT_S} s, give "
            f"another model"
        ) from error
    return _answer(done, label)


def _memory_limit(path: Path) -> int:
    """Return the bytes of address space for a trial: this job's memory, else most of the machine's.

    Threads and libraries reserve address space that they never use, hence the lower bound.
    """
    own = os.environ.get("GALAXY_MEMORY_MB", "")
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = int(own) * MEBIBYTE if own.isdigit() else machine * 3 // 4
    return max(min(limit, machine), LEAST_MEMORY) + 4 * path.stat().st_size


def _answer(done: subprocess.CompletedProcess[str], label: str) -> list[Attempt]:
    lines = done.stdout.splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except ValueError:
        answer = {}
    if "attempts" in answer:
        return [
            Attempt(
                a["height"], a["width"], {n: tuple(s) for n, s in a["shapes"].items()}, a["error"]
            )
            for a in answer["attempts"]
        ]
    if answer.get("memory") or "bad_alloc" in done.stderr or done.returncode in (-9, 137):
        raise InputError(
            f"The model {label!r} needs more memory than the job has even for one small image, "
            f"give the job more memory or another model"
        )
    if "error" in answer:
        raise InputError(_loading_problem(answer["error"], label))
    raise InputError(
        f"The model {label!r} makes ONNX Runtime crash (exit code {done.returncode}), export it "
        f"again with other settings"
    )


def _loading_problem(error: str, label: str) -> str:
    lower = error.lower()
    if "opset" in lower or "ir version" in lower:
        return (
            f"The model {label!r} is of an ONNX version that this ONNX Runtime does not know, "
            f"export it with a lower opset, such as 17 ({error})"
        )
    return f"The model {label!r} cannot be loaded by ONNX Runtime ({error}), export it again"


def _short(error: BaseException) -> str:
    """Return what matters of ONNX Runtime's message, without places in its source code."""
    line = " ".join(str(error).split())
    for mark in ("Status Message: ", " : FAIL : ", " : INVALID_GRAPH : ", " : NOT_IMPLEMENTED : "):
        line = line.rpartition(mark)[2]
    words = [word for word in line.split() if "/onnxruntime" not in word and "::" not in word]
    return " ".join(words)[-240:]


def _run(session: Any, port: ImagePort, height: int, width: int, channels: int) -> Attempt:
    import numpy as np

    shape = port.shape(port.batch or 1, height, width, channels)
    try:
        outputs = session.run(None, {port.name: np.zeros(shape, dtype=port.dtype)})
    except runtime_errors() as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        return Attempt(height, width, {}, _short(error))
    names = [output.name for output in session.get_outputs()]
    shapes = {name: np.shape(value) for name, value in zip(names, outputs, strict=True)}
    return Attempt(height, width, shapes)


def fits(shape: Sequence[int], port: ImagePort, height: int, width: int) -> bool:
    """Tell whether an output is a mask of the image's size, in the order of the input's axes."""
    if len(shape) != 4:
        return False
    return tuple(shape[2:] if port.layout == "first" else shape[1:3]) == (height, width)


def _attempts(request: dict[str, Any]) -> list[Attempt]:
    port = ImagePort(**request["port"])
    session = make_session(Path(request["path"]).read_bytes(), gpu=False, threads=1)
    attempts = []
    for height, width in request["sizes"]:
        attempt = _run(session, port, height, width, request["channels"])
        attempts.append(attempt)
        if any(fits(shape, port, height, width) for shape in attempt.shapes.values()):
            break
    return attempts


def main() -> None:
    """Do one trial: request and answer are JSON on standard input and output."""
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        print(json.dumps({"attempts": [asdict(attempt) for attempt in _attempts(request)]}))
    except MemoryError:
        print(json.dumps({"memory": True}))
    except runtime_errors() as error:
        if is_out_of_memory(error):
            print(json.dumps({"memory": True}))
        else:
            print(json.dumps({"error": _short(error)}))


if __name__ == "__main__":
    main()
