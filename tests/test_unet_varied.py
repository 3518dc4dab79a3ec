"""Data of many kinds are what they claim to be, and training learns each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from gpulab.testing.datasets import write_arrays
from gpulab.testing.floors import everything_dice, grey_band_dice
from gpulab.testing.varied import KINDS, Kind
from gpulab.unet.data import Samples, open_samples
from gpulab.unet.settings import TrainingSettings

SHARES = {
    "few slices": (0.01, 0.08),
    "colour": (0.06, 0.2),
    "shapes one-hot": (0.08, 0.25),
    "textures numbered": (0.55, 0.75),
    "vessels": (0.03, 0.12),
    "odd size": (0.1, 0.25),
    "large": (0.01, 0.1),
    "mostly foreground": (0.55, 0.65),
}
TINY = TrainingSettings(
    base_filters=4, depth=2, dropout=0.0, epochs=8, batch_size=4, learning_rate=0.01
)


def smaller(kind: Kind) -> Kind:
    """The same kind with few slices, none larger than its usual size or 128 pixels."""
    size = kind.size if max(kind.size) <= 128 else (128, 128)
    return dataclasses.replace(kind, size=size, slices=(32, 8, 8))


@contextmanager
def opened(part: str, arrays: dict[str, np.ndarray], folder: Path) -> Iterator[Samples]:
    """Open a part as users' data are opened: from an HDF5 file."""
    path = folder / f"{part}.h5"
    write_arrays(path, arrays)
    with open_samples(
        path, folder, images="images", masks="masks", label=f"{part} data"
    ) as samples:
        yield samples


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_what_it_claims_to_be(name: str, tmp_path: Path) -> None:
    kind = dataclasses.replace(KINDS[name], slices=(1, 1, 5))
    parts = kind(3)
    assert list(parts) == ["train", "valid", "test"]
    for arrays, count in zip(parts.values(), kind.slices, strict=True):
        assert arrays["images"].shape[:3] == (count, *kind.size)
        assert arrays["images"].dtype == kind.image_type
        assert arrays["masks"].shape[:3] == (count, *kind.size)
        assert arrays["masks"].dtype == np.uint8
    with opened("test", parts["test"], tmp_path) as test:
        images, labels = test.read(np.arange(len(test)))
        assert test.classes == kind.classes
        assert test.channels == (3 if name == "colour" else 1)
    assert set(np.unique(labels)) == set(range(kind.classes))
    low, high = SHARES[name]
    assert low < (labels > 0).mean() < high
    floor = max(everything_dice(labels, kind.classes), grey_band_dice(images, labels, kind.classes))
    assert floor < 0.8


def test_parts_follow_from_the_seed_and_share_no_slice() -> None:
    kind = dataclasses.replace(KINDS["few slices"], slices=(2, 2, 2))
    first, again, other = kind(1), kind(1), kind(2)
    np.testing.assert_array_equal(first["train"]["images"], again["train"]["images"])
    np.testing.assert_array_equal(first["test"]["masks"], again["test"]["masks"])
    assert not np.array_equal(first["train"]["images"], other["train"]["images"])
    slices = np.concatenate([part["images"] for part in first.values()]).reshape(6, -1)
    assert len(np.unique(slices, axis=0)) == 6


def test_floors_of_masks_known_by_heart() -> None:
    labels = np.zeros((1, 4, 5), np.uint8)
    labels[0, 0] = 1
    assert everything_dice(labels, 2) == pytest.approx(2 * 0.25 / 1.25)
    images = np.stack([labels * 50.0 + 10, 0.0 * labels], axis=-1)
    assert grey_band_dice(images, labels, 2) == pytest.approx(1.0)
    images[0, 1, :, 0] = 60  # five pixels of background look the same
    assert grey_band_dice(images, labels, 2) == pytest.approx(2 / 3)


# "large" is "few slices" of another size; benchmarks.varied trains it, which takes minutes.
@pytest.mark.parametrize("name", sorted(set(KINDS) - {"large"}))
def test_training_learns_more_than_grey_values_tell(name: str, tmp_path: Path) -> None:
    from gpulab.unet.losses import make_loss
    from gpulab.unet.progress import evaluate
    from gpulab.unet.train import check_fit, train

    with ExitStack() as stack:
        training, validation, test = (
            stack.enter_context(opened(part, arrays, tmp_path))
            for part, arrays in smaller(KINDS[name])(5).items()
        )
        check_fit(training, validation)
        trained = train(TINY, training, validation)
        multiple = trained.architecture.spatial_multiple
        _, counted = evaluate(trained.model, test, make_loss("bce"), 8, multiple)
        images, labels = test.read(np.arange(len(test)))
    dice = counted.mean_dice(trained.best.val_best_threshold)
    assert dice > everything_dice(labels, test.classes) + 0.1
    assert dice > grey_band_dice(images, labels, test.classes) + 0.1
