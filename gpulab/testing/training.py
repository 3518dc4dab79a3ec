"""Test files for training: a part without foreground, and weights to continue from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpulab.testing.datasets import write_arrays
from gpulab.testing.files import test_file
from gpulab.testing.phantoms import one_hot, phantom_slices


@test_file("no_foreground.h5")
def no_foreground(path: Path) -> None:
    """Write a part whose masks are all background."""
    images, labels = phantom_slices(4, 32, seed=1)
    write_arrays(path, {"images": images, "masks": one_hot(np.zeros_like(labels))})


@test_file("unet_weights.safetensors")
def unet_weights(path: Path) -> None:
    """Write the first weights of a tiny network, as a run of zero epochs would."""
    import keras

    from gpulab.unet.network import Architecture, build_unet
    from gpulab.unet.weights import save_weights

    keras.utils.set_random_seed(1)
    architecture = Architecture(base_filters=2, depth=2, scaling="fixed", shift=60.0, scale=50.0)
    save_weights(build_unet(architecture), architecture, path)
