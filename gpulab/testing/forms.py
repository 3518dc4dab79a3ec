"""The forms of the dataset tools as Galaxy writes them when they are run untouched."""

from __future__ import annotations

from typing import Any


def build_form() -> dict[str, Any]:
    """Return the form of h5_dataset_build."""
    return {
        "with_masks": {
            "choice": "yes",
            "matching": {"mode": "name"},
            "values": {"mode": "auto"},
            "form": "one_hot",
            "resize": "nearest",
        },
        "size": {"height": 0, "width": 0},
        "intensity": {"mode": "keep"},
        "colour": "average",
        "slices": {"axis": "axial", "choice": {"mode": "all"}},
        "groups": {"mode": "auto"},
    }


def split_by_fraction() -> dict[str, Any]:
    """Return the part `split` of the form of h5_dataset_split, by fractions."""
    return {
        "mode": "by_fraction",
        "images": "images",
        "masks": "masks",
        "sample_ids": "sample_ids",
        "groups": "groups",
        "weights": "sample_weight",
        "train_fraction": 0.8,
        "valid_fraction": 0.1,
        "test_fraction": 0.1,
        "stratify": True,
    }
