"""Small notebooks and scripts for the tests of run_jupyter_job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpulab.testing.files import test_file


def make_notebook(*cells: str | tuple[str, str], language: str = "python") -> Any:
    """Return a notebook of nbformat 4.

    Args:
        cells: Code, or (tag, code); the tag "markdown" makes a text cell.
        language: What the notebook says it is written in.
    """
    from nbformat import v4

    made = []
    for number, cell in enumerate(cells):
        tag, source = cell if isinstance(cell, tuple) else ("", cell)
        new = v4.new_markdown_cell if tag == "markdown" else v4.new_code_cell
        node = new(source, id=f"cell-{number}")  # the same file every time
        if tag and tag != "markdown":
            node.metadata["tags"] = [tag]
        made.append(node)
    spec = {"name": "anything", "display_name": "Anything", "language": language}
    return v4.new_notebook(cells=made, metadata={"kernelspec": spec})


def _write(path: Path, *cells: str | tuple[str, str], language: str = "python") -> None:
    import nbformat

    nbformat.write(make_notebook(*cells, language=language), path)


ANALYSIS: Sequence[str | tuple[str, str]] = (
    ("markdown", "# A small analysis\n\nThe area is $\\pi r^2$."),
    ("parameters", "scale = 1\nlabel = 'none'\nsizes = [1, 2]"),
    (
        "import h5py\nimport numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt\n"
        "with h5py.File('data/part.h5') as file:\n    images = file['images'][:]\n"
        "print('read', images.shape, 'from', GALAXY_INPUTS['https://example.org/part.h5'])"
    ),
    (
        "mean = float(images.mean()) * scale\nsquares = np.arange(10) ** 2\n"
        "table = pd.DataFrame({'size': sizes, 'name': [label] * len(sizes)})\ntable"
    ),
    "figure = plt.figure(figsize=(3, 2))\nplt.plot(squares)\nplt.show()",
    (
        "from sklearn.linear_model import LogisticRegression\nrandom = np.random.default_rng(1)\n"
        "features = random.normal(size=(200, 30)).astype('float32')\n"
        "classifier = LogisticRegression().fit(features, (features[:, 3] > 0).astype(int))"
    ),
    (
        "from pathlib import Path\nPath('outputs/deep').mkdir()\n"
        "table.to_csv('outputs/deep/table.csv', index=False)\n"
        "Path('outputs/notes.txt').write_text(f'{label}: {scale}')\nPath('other').mkdir()\n"
        "Path('other/kept.txt').write_text('in the zip alone')"
    ),
    "%%bash\necho from bash",
    "import asyncio\nawait asyncio.sleep(0)\nif __name__ == '__main__':\n    print('main runs')",
)


@test_file("notebook/analysis.ipynb")
def _analysis(path: Path) -> None:
    _write(path, *ANALYSIS)


@test_file("notebook/collection.ipynb")
def _collection(path: Path) -> None:
    _write(
        path,
        "from pathlib import Path\n"
        "kept_names = sorted(each.name for each in Path('texts').iterdir())\n"
        "dropped = 1\nprint(*kept_names)",
        "try:\n    Path('texts/first.txt').write_text('changed')\nexcept OSError as error:\n"
        "    print('read-only:', error.strerror)",
    )


@test_file("notebook/failing.ipynb")
def _failing(path: Path) -> None:
    _write(
        path,
        "before = [1, 2, 3]\nopen('outputs/early.txt', 'w').write('written before the failure')",
        "print('Mean squared error: 0.1')\nprint('CUDA out of memory')",
        "raise ValueError('the third cell fails')",
        "after = 1",
    )


@test_file("notebook/memory.ipynb")
def _memory(path: Path) -> None:
    _write(path, "print('begins')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")


@test_file("notebook/endless.ipynb")
def _endless(path: Path) -> None:
    _write(
        path,
        "kept = 'from before the limit'",
        "import time\nfor number in range(10_000):\n    print('step', number)\n    time.sleep(1)",
    )


@test_file("notebook/r.ipynb")
def _r(path: Path) -> None:
    _write(path, "x <- 1", language="R")


@test_file("notebook/damaged.ipynb")
def _damaged(path: Path) -> None:
    path.write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"a": 1}]}\n')


@test_file("notebook/version3.ipynb")
def _version3(path: Path) -> None:
    import nbformat

    text = nbformat.writes(make_notebook("print('an old notebook')", "old = 3"), version=3)
    path.write_text(text, encoding="utf-8")


@test_file("notebook/script.txt")
def _script(path: Path) -> None:
    path.write_text(
        "# A plain script: the first paragraph.\nimport numpy as np\n\n"
        "values = np.linspace(0, 1, 5)\n\n"
        'if __name__ == "__main__":\n    total = 0.0\n\n    for value in values:\n'
        "        total += value\n    print('total', total)\n",
        encoding="utf-8",
    )


@test_file("notebook/percent.txt")
def _percent(path: Path) -> None:
    path.write_text(
        '# %% tags=["parameters"]\nepochs = 1\n\n# %% [markdown]\n# Some text.\n\n'
        "# %%\nprint(f'{epochs} epochs')\n",
        encoding="utf-8",
    )
