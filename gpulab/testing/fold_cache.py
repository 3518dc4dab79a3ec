"""Folders that take a while to make, made once and made anew when their recipe changes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

_RECIPE = "recipe.txt"


def made_once(folder: Path, recipe: str, make: Callable[[Path], None]) -> Path:
    """Make a folder unless it is there with the same recipe.

    Several processes may ask at once: one makes it, the others wait.

    Args:
        folder: It appears whole or not at all.
        recipe: Text that changes with what would be made.
        make: Called with an empty folder to fill.

    Returns:
        The folder.
    """
    # Whoever finds it up to date needs no lock, and it may lie where nothing can be written.
    if _is_made(folder, recipe):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_made(folder, recipe):
            return folder
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
        try:
            make(unfinished)
            (unfinished / _RECIPE).write_text(recipe, encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.chmod(0o755)
            unfinished.replace(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _is_made(folder: Path, recipe: str) -> bool:
    made = folder / _RECIPE
    return made.is_file() and made.read_text(encoding="utf-8") == recipe


def recipe_of(sources: Sequence[str], *facts: str) -> str:
    """Return a recipe that changes with the programs that make something, and with more facts."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(Path(source).read_bytes())
    return "\n".join([digest.hexdigest(), *facts, ""])
