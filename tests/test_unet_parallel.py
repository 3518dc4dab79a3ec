"""Several devices learn what one learns; they are simulated, so each backend needs a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]

# Each part trains the same tiny network twice, once with the devices that there are, once with one.
TRAIN = """
import json, sys, tempfile
from pathlib import Path
import h5py
from gpulab.testing import phantom_slices
from gpulab.unet import parallel
from gpulab.unet.data import open_samples
from gpulab.unet.settings import TrainingSettings
from gpulab.unet.train import train

folder = Path(tempfile.mkdtemp())
def samples(kind, n):
    images, labels = phantom_slices(n, 16, seed=n)
    with h5py.File(folder / f"{kind}.h5", "w") as file:
        file["images"], file["masks"] = images, labels
    return open_samples(
        folder / f"{kind}.h5", folder, images="images", masks="masks", label=f"{kind} data"
    )

devices_for = parallel.devices_for
found = []
with samples("training", 11) as training, samples("validation", 5) as validation:
    for changes in json.loads(sys.argv[1]):
        settings = TrainingSettings(**{
            "base_filters": 2, "depth": 1, "dropout": 0.0, "epochs": 2, "batch_size": 4,
            "learning_rate": 0.01, "precision": "float32", **changes,
        })
        runs = []
        for choose in (devices_for, lambda size: 1):
            parallel.devices_for = choose
            trained = train(settings, training, validation)
            runs.append([[r.loss, r.val_loss, r.val_best_dice] for r in trained.records])
        found.append(runs)
print(json.dumps({"devices": devices_for(4), "of_six": devices_for(6), "runs": found}))
"""
TWO_PROCESSORS = """
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
"""
# The losses that are taken over the batch, and what else Keras does by devices: batch
# normalisation (always on), clipping (always on), the average of the weights.
CHANGES = {
    "tensorflow": [
        {"loss": "bce", "batch_norm": False},
        {"loss": "bce_dice", "class_weighting": "balanced", "average": 0.8},
    ],
    "jax": [{"loss": "bce_dice", "average": 0.8}],
}


@pytest.mark.parametrize(("backend", "devices"), [("tensorflow", 2), ("jax", 4)])
def test_several_devices_give_the_losses_of_one(backend: str, devices: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (TWO_PROCESSORS if backend == "tensorflow" else "") + TRAIN,
            json.dumps(CHANGES[backend]),
        ],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["devices"] == devices
    assert answer["of_six"] == {2: 2, 4: 3}[devices]  # no share larger than another
    assert f"{devices} of {devices} devices share each batch" in done.stdout
    for several, one in map(np.array, answer["runs"]):
        np.testing.assert_allclose(several[:, :2], one[:, :2], rtol=2e-5)
        # Rounding moves single pixels over the threshold.
        np.testing.assert_allclose(several[:, 2], one[:, 2], atol=2e-3)
