"""Small data for tests and the demo, all made by programs."""

from gpulab.testing.files import test_file, write_test_files
from gpulab.testing.phantoms import one_hot, phantom_slices

__all__ = ["one_hot", "phantom_slices", "test_file", "write_test_files"]
