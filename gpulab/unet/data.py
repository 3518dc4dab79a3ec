"""Training data: checked once, then streamed from a scratch file in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.each_sample import WEIGHTS
from gpulab.h5.limits import require_disk
from gpulab.h5.moments import Moments
from gpulab.h5.part import Part, open_part
from gpulab.unet.augment import Augmentation, augment_batch
from gpulab.unet.order import EpochOrder

COPY_BATCH = 32


@dataclass(frozen=True)
class Statistics:
    """What one pass over the images and masks tells.

    Attributes:
        samples: Number of samples.
        mean: Mean grey value.
        deviation: Standard deviation of the grey values.
        each_foreground: Share of each sample's pixels that are not background, float64 (samples,).
    """

    samples: int
    mean: float
    deviation: float
    each_foreground: NDArray[np.float64]

    @property
    def foreground(self) -> float:
        """Share of all pixels that are not background, between 0 and 1."""
        return float(self.each_foreground.mean())


class Samples:
    """Images and labels in an uncompressed scratch file, read sample by sample.

    Batches of a shuffled epoch touch the file all over. Reading single samples from a compressed
    file would decompress each chunk many times, and reading all of it would need as much memory as
    the file is large; an uncompressed copy needs neither.

    Attributes:
        height: Height in pixels, as in the input.
        width: Width in pixels, as in the input.
        channels: Image channels.
        classes: Classes, background included.
        groups: Group of each sample, such as the patient; None where the file has none.
        weights: How much each sample counts, float64 (samples,) with the mean 1; None where the
            file tells nothing.
        statistics: What was seen while copying.
    """

    def __init__(self, part: Part, scratch: h5py.File, label: str) -> None:
        if part.classes is None:
            raise InputError(f"The {label} has no masks; give a dataset with images and masks")
        self.height, self.width = part.height, part.width
        self.channels, self.classes = part.channels, part.classes
        self.groups = part.groups
        self.weights = None if part.weights is None else _mean_one(part.weights)
        pixels = part.n * part.height * part.width
        require_disk(
            pixels * (part.channels * 4 + 1), Path(scratch.filename).parent, f"decoded {label}"
        )
        self._images = scratch.create_dataset(
            "images", (part.n, part.height, part.width, part.channels), np.float32
        )
        self._labels = scratch.create_dataset("labels", (part.n, part.height, part.width), np.uint8)
        self.statistics = self._copy(part)

    def _copy(self, part: Part) -> Statistics:
        values = Moments()
        foreground = np.empty(part.n, np.float64)
        for start in range(0, part.n, COPY_BATCH):
            stop = min(start + COPY_BATCH, part.n)
            images, labels = part.read_images(start, stop), part.read_labels(start, stop)
            values.add(images)
            foreground[start:stop] = np.count_nonzero(labels, axis=(1, 2))
            self._images[start:stop] = images
            self._labels[start:stop] = labels
        foreground /= self.height * self.width
        return Statistics(part.n, values.mean, values.deviation, foreground)

    def __len__(self) -> int:
        return self.statistics.samples

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return images, float32 (b, h, w, channels), and labels, uint8 (b, h, w)."""
        images = np.empty((len(indices), *self._images.shape[1:]), np.float32)
        labels = np.empty((len(indices), *self._labels.shape[1:]), np.uint8)
        for row, index in enumerate(indices):
            self._images.read_direct(images, np.s_[int(index)], np.s_[row])
            self._labels.read_direct(labels, np.s_[int(index)], np.s_[row])
        return images, labels

    def evenly(self, most: int) -> NDArray[np.int64]:
        """Return the indices of all samples that count, or of `most` at equal distances, int64."""
        counting = np.arange(len(self)) if self.weights is None else np.flatnonzero(self.weights)
        count = min(len(counting), most)
        return counting[np.linspace(0, len(counting) - 1, count).round().astype(np.int64)]

    @property
    def foreground(self) -> float:
        """Share of pixels that are not background, those of each sample as its weight says."""
        return float(np.average(self.statistics.each_foreground, weights=self.weights))

    @property
    def grey_values(self) -> tuple[float, float]:
        """Mean and standard deviation of all values."""
        return self.statistics.mean, self.statistics.deviation

    def weights_of(self, indices: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return how much some samples count, float64 (b,); None where all count the same."""
        return None if self.weights is None else self.weights[indices]


def _mean_one(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = weights / weights.max()  # the sum of very large ones would be infinite
    return np.asarray(shares / shares.mean(), np.float64)


@contextmanager
def open_samples(
    path: Path, scratch_folder: Path, *, images: str, masks: str, label: str, weights: str = WEIGHTS
) -> Iterator[Samples]:
    """Check one part of a dataset and copy it to a scratch file that is deleted afterwards.

    Args:
        path: HDF5 file.
        scratch_folder: Folder for the scratch file, as large as the decoded data in float32.
        images: Name of the dataset of images.
        masks: Name of the dataset of masks.
        label: What the file is, for messages: "training data" or "validation data".
        weights: Name of the dataset of weights, which may be missing under its usual name; empty
            for none.

    Yields:
        The samples.

    Raises:
        InputError: The file, its images or its masks cannot be used.
    """
    with ExitStack() as stack:
        part = stack.enter_context(
            open_part(path, images=images, masks=masks, weights=weights, label=label)
        )
        scratch_path = scratch_folder / f".scratch-{label.replace(' ', '-')}.h5"
        stack.callback(scratch_path.unlink, missing_ok=True)
        scratch = stack.enter_context(h5py.File(scratch_path, "w"))
        yield Samples(part, scratch, label)


def padding(length: int, multiple: int) -> tuple[int, int]:
    """Return how many pixels to add before and after to reach the next multiple."""
    missing = -length % multiple
    return missing // 2, missing - missing // 2


def pad_batch(array: NDArray[Any], multiple: int) -> NDArray[Any]:
    """Mirror the edges of (b, h, w, …) so that height and width are multiples of `multiple`."""
    rows, columns = (padding(length, multiple) for length in array.shape[1:3])
    if not any(rows + columns):
        return array
    # "symmetric" works for any amount, "reflect" only up to the size of the image.
    return np.pad(array, ((0, 0), rows, columns, *[(0, 0)] * (array.ndim - 3)), mode="symmetric")


def predict_padded(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    images: NDArray[np.float32],
    multiple: int,
) -> NDArray[np.float32]:
    """Predict images of any size with a network that takes multiples of a number of pixels.

    Args:
        predict: From images to probabilities of the same height and width.
        images: Float32 (b, h, w, channels).
        multiple: Height and width are padded to multiples of this, and cut back.

    Returns:
        Probabilities, float32 (b, h, w, classes).
    """
    height, width = images.shape[1:3]
    (top, _), (left, _) = padding(height, multiple), padding(width, multiple)
    return predict(pad_batch(images, multiple))[:, top : top + height, left : left + width]


def predict_samples(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    samples: Samples,
    indices: NDArray[np.int64],
    batch_size: int,
    multiple: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield indices (b,), probabilities (b, h, w, classes) and labels (b, h, w) of each batch.

    Args:
        predict: From images to probabilities of the same height and width.
        samples: What to predict.
        indices: Which of them, int64.
        batch_size: Images at a time.
        multiple: Height and width are padded to multiples of this, and cut back.
    """
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        images, labels = samples.read(batch)
        yield batch, predict_padded(predict, images, multiple), labels


def one_hot(labels: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """Return labels (b, h, w) as one-hot masks, float32 (b, h, w, classes)."""
    return np.eye(classes, dtype=np.float32)[labels]


def training_batches(
    samples: Samples,
    order: EpochOrder,
    augmentation: Augmentation | None,
    multiple: int,
    workers: int,
) -> Any:
    """Return a `keras.utils.PyDataset` of padded, augmented batches.

    Args:
        samples: The training samples.
        order: Which samples make which batch.
        augmentation: How to change them, or None.
        multiple: Height and width are padded to multiples of this.
        workers: Threads that prepare batches while the network trains.

    Returns:
        A dataset of images, float32 (b, h, w, channels), and one-hot masks, float32
        (b, h, w, classes).
    """
    import keras

    class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no stubs
        def __len__(self) -> int:
            return len(order)

        def on_epoch_end(self) -> None:
            order.next_epoch()

        def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            images, labels = samples.read(order.batch(index))
            if augmentation is not None:
                images, labels = augment_batch(images, labels, augmentation, order.random(index))
            images, labels = pad_batch(images, multiple), pad_batch(labels, multiple)
            return images, one_hot(labels, samples.classes)

    return TrainingBatches(workers=workers, use_multiprocessing=False, max_queue_size=2 * workers)
