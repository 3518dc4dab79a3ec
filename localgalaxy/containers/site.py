"""Programs that are mounted into images, each in a folder of its own below `.venvs/containers/`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from localgalaxy.console import step
from localgalaxy.containers.engine import FOLDER, run
from localgalaxy.environments import ensure_uv
from localgalaxy.paths import LOCKS


def ensure_site(name: str, lock: str, programs: Sequence[str] = ()) -> Path:
    """Install programs for the images' Python, once, and return their folder.

    Args:
        name: Of the folder.
        lock: The file in `locks/` that says which versions.
        programs: What to install, with what it needs; nothing is all of the lock.
    """
    file = LOCKS / lock
    folder = FOLDER / name
    stamp = folder / "lock.txt"
    text = file.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == text:
        return folder
    with step(f"Installing {' and '.join(programs) or lock} to be mounted into images"):
        shutil.rmtree(folder, ignore_errors=True)
        what = ["--constraint", str(file), *programs] if programs else ["--requirement", str(file)]
        command = [str(ensure_uv()), "pip", "install", "--quiet", "--python-version", "3.11"]
        run(
            [*command, "--python-platform", "x86_64-manylinux_2_36", "--target", str(folder), *what]
        )
        stamp.write_text(text, encoding="utf-8")
    return folder
