"""What the outer process runs inside the kernel, before the first cell and after the last one."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from gpulab.notebook.inputs import INPUTS_FILE

INPUTS_NAME = "GALAXY_INPUTS"
FACTS_FILE = "facts.json"


def start(shell: Any) -> None:
    """Give the notebook its inputs, and an `exit` that ends it in order.

    IPython's own `exit` ends the kernel, and with it all variables.
    """
    # A message that finds the queue full is dropped: also the one that says that a cell has ended.
    shell.kernel.iopub_thread.socket.sndhwm = 0
    names = json.loads(Path(INPUTS_FILE).read_text(encoding="utf-8"))
    shell.user_ns[INPUTS_NAME] = names

    def leave(code: object = 0) -> NoReturn:
        """End the notebook here; 0 or nothing is success."""
        raise SystemExit(code)

    for name in ("exit", "quit"):
        shell.user_ns[name] = leave
        shell.user_ns_hidden[name] = leave
    shell.user_ns_hidden[INPUTS_NAME] = names


def finish(shell: Any, options: str) -> None:
    """Note the versions and devices that the notebook used, and save its variables.

    Args:
        shell: The kernel's IPython shell.
        options: JSON object: `folder`, `which`, `pattern` and the rest as `capture` takes them.
    """
    values = json.loads(options)
    folder = Path(values.pop("folder"))
    folder.mkdir(parents=True, exist_ok=True)
    write_facts(folder / FACTS_FILE)
    from gpulab.notebook.capture import capture

    capture(shell.user_ns, str(folder), hidden=dict(shell.user_ns_hidden), **values)


def write_facts(path: Path) -> None:
    """Write the versions of the imported packages and the devices as JSON."""
    facts = {"versions": _versions(), "devices": _devices()}
    path.write_text(json.dumps(facts), encoding="utf-8")


def _versions() -> dict[str, str]:
    distributions = importlib.metadata.packages_distributions()
    found: dict[str, str] = {}
    for module in list(sys.modules):
        for name in distributions.get(module, ()):
            found[name] = importlib.metadata.version(name)
    return dict(sorted(found.items()))


def _devices() -> list[str]:
    """Ask the libraries that the notebook has imported; none is imported for the sake of it."""
    found: list[str] = []
    tensorflow, torch, jax = (sys.modules.get(name) for name in ("tensorflow", "torch", "jax"))
    try:
        if tensorflow is not None:
            gpus = tensorflow.config.list_physical_devices("GPU")
            found += [f"TensorFlow: {gpu.name}" for gpu in gpus]
        if torch is not None and torch.cuda.is_available():
            count = torch.cuda.device_count()
            found += [f"PyTorch: {torch.cuda.get_device_name(number)}" for number in range(count)]
        if jax is not None:
            found += [f"JAX: {device}" for device in jax.devices() if device.platform != "cpu"]
    except (AttributeError, RuntimeError) as error:
        found.append(f"could not be asked: {error}")
    return found
