"""The same seed, data and settings give the same files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py

from gpulab.testing import phantom_slices

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tools" / "unet_train" / "unet_train.py"


def test_two_jobs_make_the_same_model_bit_by_bit(tmp_path: Path) -> None:
    files = {}
    for kind in ("training", "validation"):
        images, labels = phantom_slices(9, 32, seed=len(kind))
        files[kind] = str(tmp_path / f"{kind}.h5")
        with h5py.File(files[kind], "w") as file:
            file["images"], file["masks"] = images, labels
    params = tmp_path / "params.json"
    network = {"base_filters": 2, "depth": 1}  # dropout and augmentation stay on
    optimiser = {"epochs": 2, "batch_size": 4}
    params.write_text(json.dumps({**files, "network": network, "optimiser": optimiser}))
    jobs = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), "--params", str(params), "--outputs", str(folder)],
            # Each process orders its sets of strings in another way, as Python does by itself.
            env={**os.environ, "PYTHONHASHSEED": seed, "GALAXY_SLOTS": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for seed, folder in (("1", tmp_path / "one"), ("2", tmp_path / "two"))
    ]
    for job in jobs:
        _, errors = job.communicate()
        assert job.returncode == 0, errors[-3000:]
    for name in ("weights.safetensors", "model.onnx"):
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert one == two, name
