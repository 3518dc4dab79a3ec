"""Settings that every test needs before a heavy library is imported."""

import os

# Set before TensorFlow is imported; quiet logs, and nothing but the processor.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
