"""The one exception that a user may see."""

from __future__ import annotations


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence that says what is wrong, in which input, and what to do. Tools print
    it as a single line on standard error and exit with `exit_code`.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        # Names inside uploaded files may hold line breaks or terminal controls: they must not be
        # able to forge a second line of output.
        printable = "".join(c if c.isprintable() else " " for c in message)
        super().__init__(" ".join(printable.split()))
