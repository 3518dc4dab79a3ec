"""Saving the variables of a notebook: values into `arrays.h5`, models as ONNX, all in a table.

This runs inside the notebook's kernel, so it trusts nothing that it is given, imports no library
that the notebook did not import (other than what writes the files), and lets no variable spoil
another. What it leaves is read by `gpulab.notebook.captured`.

**`arrays.h5`** has an object for each variable, with its name. The attribute `type` says what it
was, `stored` how it is kept where one type has several ways:

| Python | HDF5 |
|---|---|
| bool, int, float, complex, str, NumPy scalar | a scalar; an int of more than 64 bits is text |
| None; an item that was left out | empty dataset; `type` is `None` or `left out`, with `reason` |
| bytes, and text with a NUL | 1-D uint8 (`stored` = `bytes`) |
| dates, times, paths, decimals | text; `type` says which |
| array | dataset; of dates int64 with `unit`, of texts UTF-8 with `dtype` |
| … of objects; structured | group of `items`, with `shape`; group of a dataset for each field |
| list, tuple, set, deque of one kind of number | dataset (`grid`), with as many axes as there are \
lists within lists, their types in `levels` |
| … of rows of differing lengths | group (`ragged`): all `values`, and the `lengths` |
| … of texts | text dataset (`texts`), with `gaps` where None or NaN stood |
| … of scalars of several kinds, a thousand or more | group (`mixed`): `texts` and `kinds` |
| … of anything else | group (`items`) of `0`, `1`, … |
| dict | group; a key that is no text has the attribute `key` on its object; a thousand or more \
(`pairs`): the lists `keys` and `values` |
| pandas DataFrame | group of `columns`, `labels` (an Index) and `index` |
| pandas Series, Index, extension array | group of `values` with what its type needs: `codes` and \
`categories`, `zone`, `freq`, `missing` |
| SciPy sparse | group of `data`, `indices`, `indptr` (or `row`, `col`), attribute `shape` |
| tensors, variables, anything with `__array__` | as an array; `original` says what it was |
| Keras History | group of its curves and `epoch` |

An object with two names is written once and linked. `gpulab.notebook.capture.load.load_variables`
reads it all back.
"""

from gpulab.notebook.capture.capture import capture

__all__ = ["capture"]
