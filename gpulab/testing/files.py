"""The registry of test files: `python -m gpulab.testing` writes them all below test-data/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

TestFileWriter = Callable[[Path], None]
TEST_FILES: dict[str, TestFileWriter] = {}


def test_file(name: str) -> Callable[[TestFileWriter], TestFileWriter]:
    """Register a function that writes the test file `name` to the path it is given."""

    def register(writer: TestFileWriter) -> TestFileWriter:
        if name in TEST_FILES:
            raise ValueError(f"Two functions write the test file {name}")
        TEST_FILES[name] = writer
        return writer

    return register


def write_test_files(folder: Path) -> list[Path]:
    """Write every registered file into `folder` and return their paths."""
    paths = []
    for name, writer in sorted(TEST_FILES.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        writer(path)
        paths.append(path)
    return paths
