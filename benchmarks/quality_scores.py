"""Scores of the runs of benchmarks.quality, made of their saved predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpulab.masks.decide import image_thresholds, to_labels
from gpulab.masks.histogram import ScoreHistogram, expected_calibration_error

Result = dict[str, Any]
"""One run: `truth`, bool (n, h, w), `plain` and `flip`, probabilities (n, h, w), `threshold`,
`sure_dice` below which it falls, and the `temperature` that made the probabilities."""

HEADER = (
    "variant",
    "seeds",
    "pooled",
    "per image",
    "pooled, adapted",
    "per image, adapted",
    "pooled, flips",
    "per image, flips",
    "pooled, all models",
    "per image, all models",
    "calibration error",
    "at temperature 1",
    "minutes a run",
)


def dice(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """2 TP / (2 TP + FP + FN); 1 when both are empty."""
    total = int(truth.sum()) + int(mask.sum())
    return 2 * int((truth & mask).sum()) / total if total else 1.0


def score(results: Sequence[Result], key: str, *, adapt: bool = False) -> tuple[float, float]:
    """Return pooled Dice and mean Dice of the images over the folds of one seed.

    Args:
        results: The runs.
        key: Which probabilities.
        adapt: Whether each image has its own threshold, as in `unet_predict`.
    """
    truth = np.concatenate([r["truth"] for r in results])
    mask = np.concatenate([_masks(r, key, adapt=adapt) for r in results])
    return dice(truth, mask), float(np.mean([dice(t, m) for t, m in zip(truth, mask, strict=True)]))


def _masks(result: Result, key: str, *, adapt: bool) -> NDArray[np.bool_]:
    probabilities, threshold = result[key], float(result["threshold"])
    if not adapt:
        return np.asarray(probabilities > threshold)
    both = np.stack([1 - probabilities, probabilities], axis=-1).astype(np.float32)
    limits = [image_thresholds(image, threshold, float(result["sure_dice"])) for image in both]
    return np.stack([to_labels(i, t) > 0 for i, t in zip(both, limits, strict=True)])


def calibration_error(results: Sequence[Result], *, calibrated: bool) -> float:
    """Return the expected calibration error over the folds of one seed.

    Args:
        results: The runs.
        calibrated: Whether of the probabilities as they are, or as they were at temperature 1.
    """
    histogram = ScoreHistogram()
    for result in results:
        p = np.clip(result["plain"].astype(np.float64), 1e-6, 1 - 1e-6)
        temperature = 1.0 if calibrated else float(result["temperature"])
        odds = (p / (1 - p)) ** temperature
        histogram.add((odds / (1 + odds)).astype(np.float32), result["truth"])
    return expected_calibration_error(histogram.reliability())


def together(results: dict[tuple[int, int], Result], key: str) -> list[Result]:
    """Average the probabilities and thresholds of all seeds of each fold."""
    averaged = []
    for fold in sorted({fold for fold, _ in results}):
        members = [r for (f, _), r in results.items() if f == fold]
        averaged.append(
            {
                "truth": members[0]["truth"],
                key: np.mean([r[key].astype(np.float32) for r in members], axis=0),
                "threshold": np.mean([r["threshold"] for r in members]),
            }
        )
    return averaged


def row(variant: str, results: dict[tuple[int, int], Result], folds: int) -> tuple[object, ...]:
    """Return the table's row of one variant: means, and spread over the complete seeds.

    Args:
        variant: Its name.
        results: The runs by fold and seed.
        folds: How many folds a seed needs to count.
    """
    seeds = sorted({seed for _, seed in results})
    full = [s for s in seeds if all((f, s) in results for f in range(folds))]
    if not full:
        return (variant, 0, *["–"] * (len(HEADER) - 2))
    kept = {key: result for key, result in results.items() if key[1] in full}
    plain, adapted, flips = (
        np.array([score([results[f, s] for f in range(folds)], key, adapt=adapt) for s in full])
        for key, adapt in (("plain", False), ("plain", True), ("flip", False))
    )
    errors = [
        np.mean(
            [calibration_error([results[f, s] for f in range(folds)], calibrated=c) for s in full]
        )
        for c in (True, False)
    ]
    spread = plain.std(axis=0, ddof=1) if len(full) > 1 else (float("nan"), float("nan"))
    return (
        variant,
        len(full),
        *(f"{m:.3f} ± {s:.3f}" for m, s in zip(plain.mean(axis=0), spread, strict=True)),
        *(f"{x:.3f}" for x in adapted.mean(axis=0)),
        *(f"{x:.3f}" for x in flips.mean(axis=0)),
        *(f"{x:.3f}" for x in score(together(kept, "flip"), "flip")),
        *(f"{x:.3f}" for x in errors),
        f"{np.mean([r['seconds'] for r in kept.values()]) / 60:.1f}",
    )
