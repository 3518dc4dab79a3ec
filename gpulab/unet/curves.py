"""The picture of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpulab.report import figures

if TYPE_CHECKING:
    from gpulab.unet.progress import EpochRecord


LABELS = {
    "best_dice": "Dice, best threshold",
    "dice": "Dice, threshold 0.5",
    "sensitivity": "sensitivity, threshold 0.5",
}


def draw_learning_curves(records: list[EpochRecord], best_epoch: int, path: Path) -> None:
    """Draw the losses and the foreground's validation measures over the epochs as PNG.

    Args:
        records: One record an epoch, at least one.
        best_epoch: Epoch that was exported; marked by a vertical line.
        path: Where to write, 1200 × 480 pixels.
    """
    figure, axes = figures.new_figure(1, 2, width=10, height=4)
    epochs = [record.epoch for record in records]
    losses, measures = axes[0]
    marker = "o" if len(records) < 40 else ""
    losses.plot(epochs, [r.loss for r in records], marker, ls="-", c=figures.BLUE, label="training")
    losses.plot(
        epochs, [r.val_loss for r in records], marker, ls="--", c=figures.ORANGE, label="validation"
    )
    losses.set(title="Loss", xlabel="Epoch", ylabel="Loss")
    for name, colour, style in (
        ("best_dice", figures.BLUE, "-"),
        ("dice", figures.SKY, "--"),
        ("sensitivity", figures.GREEN, "-."),
    ):
        values = [getattr(record, f"val_{name}") for record in records]
        measures.plot(epochs, values, marker, ls=style, c=colour, label=LABELS[name])
    measures.set(
        title="Foreground of the validation data", xlabel="Epoch", ylabel="Score", ylim=(0, 1)
    )
    for axis in (losses, measures):
        axis.axvline(best_epoch, color=figures.BLACK, lw=1, ls=":", label=f"exported: {best_epoch}")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(frameon=False)
    figures.save_figure(figure, path)
