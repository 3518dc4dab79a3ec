"""The notebook that the workflow remote_notebook runs: it trains a small network for masks."""

from __future__ import annotations

from pathlib import Path

from gpulab.testing.files import test_file

CELLS: tuple[tuple[str, str], ...] = (
    (
        "markdown",
        """\
# Train a small mask model

Reads `data/train.h5` and `data/valid.h5` as *Split an HDF5 dataset* writes them: `images` (samples,
height, width, 1) and `masks` (samples, height, width, classes). The variable `model` becomes an
ONNX file that *Predict masks* takes: raw pixel values in, a probability for each class out, for
images of any size.""",
    ),
    (
        "parameters",
        """\
epochs = 20
filters = 8
learning_rate = 0.01
seed = 42""",
    ),
    (
        "code",
        """\
import h5py
import keras
import matplotlib.pyplot as plt
import numpy as np

keras.utils.set_random_seed(seed)

def read(path):
    with h5py.File(path) as file:
        return file["images"][:].astype("float32"), file["masks"][:].astype("float32")

images, masks = read("data/train.h5")
valid_images, valid_masks = read("data/valid.h5")
print(len(images), "images for training,", len(valid_images), "for validation")""",
    ),
    (
        "markdown",
        "The rare classes weigh more. The mean and the spread of the pixels are inside the model.",
    ),
    (
        "code",
        """\
layers = keras.layers
share = masks.mean(axis=(0, 1, 2))
weights = np.sqrt(1 / np.maximum(share, 1e-3))
weights /= weights.sum()

def loss(truth, predicted):
    logarithm = keras.ops.log(keras.ops.clip(predicted, 1e-6, 1.0))
    return -keras.ops.mean(keras.ops.sum(truth * logarithm * weights, axis=-1))

scale = 1 / float(images.std())
image = layers.Input((None, None, images.shape[-1]))
x = layers.Rescaling(scale, offset=-float(images.mean()) * scale)(image)
for dilation in (1, 2, 4, 1):
    x = layers.Conv2D(filters, 3, padding="same", dilation_rate=dilation, activation="relu")(x)
mask = layers.Conv2D(masks.shape[-1], 1, activation="softmax")(x)
model = keras.Model(image, mask)
model.compile(keras.optimizers.Adam(learning_rate), loss)""",
    ),
    (
        "code",
        """\
history = model.fit(
    images, masks, batch_size=8, epochs=epochs, verbose=2,
    validation_data=(valid_images, valid_masks),
)""",
    ),
    (
        "code",
        """\
plt.plot(history.history["loss"], label="training")
plt.plot(history.history["val_loss"], label="validation")
plt.xlabel("epoch")
plt.ylabel("loss")
plt.legend();""",
    ),
)


@test_file("notebooks/train_masks.ipynb")
def write_training_notebook(path: Path) -> None:
    """Write the notebook without outputs; the same bytes each time."""
    import nbformat

    new = nbformat.v4
    cells = []
    for number, (kind, source) in enumerate(CELLS):
        name = {"id": f"cell-{number}"}
        if kind == "markdown":
            cells.append(new.new_markdown_cell(source, **name))
        else:
            metadata = {"tags": ["parameters"]} if kind == "parameters" else {}
            cells.append(new.new_code_cell(source, metadata=metadata, **name))
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = new.new_notebook(cells=cells, metadata={"kernelspec": spec})
    nbformat.write(notebook, path)
