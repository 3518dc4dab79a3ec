"""Settings that every test needs before a heavy library is imported."""

import os
from importlib.util import find_spec

# Set before TensorFlow is imported; quiet logs, and nothing but the processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

# The folding tools and what checks deploy/ have environments of their own; their tests run there.
_NEEDS = {"fold": "colabfold", "deploy": "tpv"}
collect_ignore = [folder for folder, module in _NEEDS.items() if not find_spec(module)]
