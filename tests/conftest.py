"""Settings that every test needs before a heavy library is imported."""

import os
from importlib.util import find_spec

# Set before TensorFlow is imported; quiet logs, and nothing but the processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

# The folding tools have an environment of their own, and their tests run there.
collect_ignore = [] if find_spec("colabfold") else ["fold"]
