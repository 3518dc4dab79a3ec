"""Starting Keras without what it loads beside itself."""

from __future__ import annotations

import sys

# Keras imports these where they are installed, for wrappers and galleries that no job uses. Both
# are in the training environment for other reasons and take a quarter of the import of Keras
# (docs/performance.md).
UNUSED_BY_KERAS = ("sklearn", "matplotlib.pyplot")


def import_keras_alone() -> None:
    """Import Keras as if the libraries of its unused extras were not installed.

    They can be imported as ever afterwards. Where Keras or one of them is loaded already, as in a
    notebook, this changes nothing for it.
    """
    hidden = [name for name in UNUSED_BY_KERAS if name not in sys.modules]
    # None makes an import fail as if the module were missing (Python reference, section 5.3.1).
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        import keras  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]
