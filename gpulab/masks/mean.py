"""The mean of the probabilities of several models that run one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from gpulab.errors import InputError
from gpulab.masks.collect import Origin, Stream
from gpulab.masks.options import safe_names, unique
from gpulab.masks.sources import Sample


class MeanOfModels:
    """Adds up probabilities in a file, so that memory holds one image and one model at a time.

    The file takes 4 bytes for each pixel and class. It is deleted at the end.

    Args:
        path: File to write meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = h5py.File(path, "w", libver="latest")
        self.members: list[Origin] = []

    def taking(self, origin: Origin, stream: Stream) -> Stream:
        """Pass the samples of a model on as they come, and add their probabilities.

        Args:
            origin: The model.
            stream: Every sample with its probabilities, float32 (h, w, classes).

        Raises:
            InputError: The model has other classes than those before it.
        """
        if self.members:
            check_alike(self.members[0], origin)
        self.members.append(origin)
        return self._added(stream)

    def _added(self, stream: Stream) -> Iterator[tuple[Sample, NDArray[np.float32]]]:
        for sample, probabilities in stream:
            name = str(sample.number)
            if name in self._file:
                self._file[name][...] += probabilities
            else:
                self._file.create_dataset(name, data=probabilities)
            yield sample, probabilities

    def origin(self) -> Origin:
        """Say what the mean is called, which threshold it has, and which classes."""
        return mean_of(self.members)

    def stream(self, samples: Iterable[Sample]) -> Stream:
        """Yield each sample with the mean of its probabilities, float32 (h, w, classes)."""
        for sample in samples:
            # A sum of numbers up to 1 does not exceed their count, so no mean exceeds 1.
            yield sample, self._file[str(sample.number)][...] / np.float32(len(self.members))

    def __enter__(self) -> MeanOfModels:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink()


def check_alike(first: Origin, other: Origin) -> None:
    """Refuse to average models of different classes.

    Raises:
        InputError: They differ in the number of classes, or name the same in another order.
    """
    counts = len(first.class_names), len(other.class_names)
    if counts[0] != counts[1]:
        raise InputError(
            f"The model {first.label!r} knows {counts[0]} classes with the background but "
            f"{other.label!r} knows {counts[1]}, so they have no mean: choose models of the same "
            f"classes, or leave out the mean"
        )
    if not (first.names_known and other.names_known) or first.class_names == other.class_names:
        return
    if set(first.class_names) == set(other.class_names):
        raise InputError(
            f"The models {first.label!r} and {other.label!r} have the same classes in another "
            f"order, so they have no mean: train them on masks of the same class numbers, or leave "
            f"out the mean"
        )
    print(
        f"The models {first.label!r} and {other.label!r} name their classes differently; the mean "
        f"takes them in their order"
    )


def mean_of(members: Sequence[Origin]) -> Origin:
    """Return what the mean of models is: named by their number, with the mean of thresholds."""
    labels = [member.label for member in members]
    losses = {member.loss for member in members}
    named = [member for member in members if member.names_known]
    return Origin(
        label=unique([*labels, f"Mean of {len(members)} models"])[-1],
        key=safe_names([*labels, "mean"])[-1],
        loss=losses.pop() if len(losses) == 1 else "",
        threshold=float(np.mean([member.threshold for member in members])),
        sure_dice=_mean_or_none([member.sure_dice for member in members]),
        class_names=(named or members)[0].class_names,
        names_known=bool(named),
    )


def _mean_or_none(sure: Sequence[float]) -> float:
    """Return the mean of what adapts thresholds; 0, which does not, if it does not for a model."""
    return float(np.mean(sure)) if all(sure) else 0.0
