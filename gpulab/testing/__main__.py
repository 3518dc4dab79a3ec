"""Write the test files: `python -m gpulab.testing [folder]`, by default test-data/."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import gpulab.testing
from gpulab.testing import write_test_files


def main() -> None:
    """Import every module of this package, so that each registers its files, and write them."""
    for module in pkgutil.iter_modules(gpulab.testing.__path__):
        if module.name != "__main__":
            importlib.import_module(f"gpulab.testing.{module.name}")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("test-data")
    for path in write_test_files(folder):
        print(f"{path.stat().st_size:>9,} bytes  {path}")


if __name__ == "__main__":
    main()
