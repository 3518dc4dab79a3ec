"""Streaming prediction: samples in, probabilities of their own size out, in the same order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.h5.build_pixels import resize_image
from gpulab.masks.sources import Sample
from gpulab.masks.unlike import Seen
from gpulab.masks.windows import Fit, Merger, cut, make_plan
from gpulab.models.session import MaskModel

PROGRESS_SECONDS = 5.0


@dataclass
class _Pending:
    sample: Sample
    merger: Merger

    def result(self) -> NDArray[np.float32]:
        """Return the probabilities in the size of the sample's image."""
        values = self.merger.result()
        size = self.sample.image.shape[:2]
        return values if values.shape[:2] == size else resize_image(values, size)


@dataclass
class _Window:
    owner: _Pending
    number: int
    values: NDArray[np.float32]


class Predictor:
    """Runs a model over samples in batches of windows.

    Args:
        model: From `open_model`.
        fit: How images are fitted to the model's size.
        batch: Windows that go through the model at once.
        flips: Whether each window is also predicted mirrored left to right and the mean of both
            is taken, which takes twice the time.

    Raises:
        InputError: Images shall be resized, and the model does not say to which size.

    Attributes:
        plans: How images were fitted, in words, with the number of images.
        seen: Sizes and values of the images so far, as they went into the model.
        seconds: Time spent in the model.
    """

    def __init__(self, model: MaskModel, fit: Fit, batch: int, *, flips: bool = False) -> None:
        self._model = model
        self._size = _learnt_size(model) if fit.mode == "resize" else None
        self._fit = replace(fit, mode="auto") if self._size else fit
        self._batch = batch
        self._flips = flips
        self.plans: dict[str, int] = {}
        self.seen = Seen()
        self.seconds = 0.0

    def run(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, NDArray[np.float32]]]:
        """Yield each sample with its probabilities, float32 (h, w, classes), background first.

        Raises:
            InputError: An image cannot be fitted to the model.
            MemoryError: A batch does not fit in memory.
        """
        pending: deque[_Pending] = deque()
        windows: list[_Window] = []
        for sample in samples:
            new = self._windows(sample)
            pending.append(new[0].owner)
            for window in new:
                if windows and window.values.shape != windows[0].values.shape:
                    self._flush(windows)
                windows.append(window)
                if len(windows) >= self._batch:
                    self._flush(windows)
            yield from _finished(pending)
        self._flush(windows)
        yield from _finished(pending)

    def _windows(self, sample: Sample) -> list[_Window]:
        image = sample.image
        if self._size and image.shape[:2] != self._size:
            image = resize_image(image, self._size)
        self.seen.add(image)
        height, width = image.shape[:2]
        demanded = (self._model.height, self._model.width)
        try:
            plan = make_plan(height, width, self._fit, demanded, self._model.multiple)
        except InputError as error:
            raise InputError(f"{error} (model {self._model.label!r})") from error
        words = plan.words
        if image is not sample.image:
            resized = f"resized to {height} × {width} and back"
            words = resized if plan.whole else f"{resized}, {words}"
        self.plans[words] = self.plans.get(words, 0) + 1
        owner = _Pending(sample, Merger(plan))
        return [_Window(owner, number, v) for number, v in enumerate(cut(image, plan))]

    def _flush(self, windows: list[_Window]) -> None:
        if not windows:
            return
        start = time.perf_counter()
        results = self._answer(np.stack([window.values for window in windows]))
        self.seconds += time.perf_counter() - start
        for window, values in zip(windows, results, strict=True):
            window.owner.merger.add(window.number, values)
        windows.clear()

    def _answer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        results = self._model.predict(images)
        if not self._flips:
            return results
        mirrored = self._model.predict(np.ascontiguousarray(images[:, :, ::-1]))
        return (results + mirrored[:, :, ::-1]) / np.float32(2)


def _finished(pending: deque[_Pending]) -> Iterator[tuple[Sample, NDArray[np.float32]]]:
    while pending and pending[0].merger.complete:
        done = pending.popleft()
        yield done.sample, done.result()


def _learnt_size(model: MaskModel) -> tuple[int, int]:
    """Return height and width that a model demands, or else those that it learnt from."""
    learnt = model.metadata.image_size if model.metadata else None
    height, width = learnt or (None, None)
    height, width = model.height or height, model.width or width
    if height is None or width is None:
        raise InputError(
            f"The model {model.label!r} takes images of any size and does not say which size it "
            "learnt from, so images cannot be resized for it, choose another way to fit them"
        )
    return height, width


class Progress:
    """Tells now and then how far a prediction is.

    Args:
        label: What is being done.
        total: Number of images.
    """

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._start = self._told = time.perf_counter()

    def tell(self, done: int) -> None:
        """Print a line when enough time has passed, and one at the end."""
        now = time.perf_counter()
        if done < self._total and now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        speed = done / max(now - self._start, 1e-9)
        print(f"{self._label}: {done} of {self._total} images, {speed:.1f} images/s", flush=True)
