"""Names: which mask belongs to which image, what a sample is called, and its group."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from gpulab.errors import InputError
from gpulab.h5.images import SourceFile
from gpulab.h5.limits import readable

MAX_PATTERN = 200
MAX_NAME = 255
MATCH_SECONDS = 2.0
MAX_TABLE_BYTES = 16 << 20
LISTED = 5

# Endings that say what a file is, not what it shows; Galaxy's own names of types among them.
_ENDING = re.compile(
    r"(\.(png|jpe?g|tiff?|ome|nii[12]?|zip|dcm|gz))+$",
    re.IGNORECASE,
)


def listing(names: Sequence[str]) -> str:
    """Join at most five names for a message."""
    shown = ", ".join(readable(name, 60) for name in names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"


def stem(name: str) -> str:
    """Return a name without the endings of image files; `a.nii.gz` becomes `a`."""
    return _ENDING.sub("", name) or name


@contextmanager
def _time_limit(what: str) -> Iterator[None]:
    """Stop a regular expression that would run for hours.

    Python's `re` tries alternatives one after the other and can need exponential time, but it looks
    for signals while it does, so an alarm ends it. Alarms exist in the main thread alone, which is
    where a tool runs; in another thread the expression runs without a limit of time.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise InputError(
            f"The pattern for {what} takes longer than {MATCH_SECONDS:g} seconds, use a simpler "
            f"one without a repeated repetition such as (a+)+"
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, MATCH_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class NamePattern:
    r"""A regular expression with one group, such as `image_(\d+)`, searched for within a name.

    Attributes:
        text: The expression, at most 200 characters.
        purpose: What it is for, for messages.

    Raises:
        InputError: It is empty, too long, no regular expression, or has not exactly one group.
    """

    text: str
    purpose: str

    def __post_init__(self) -> None:
        shown = readable(self.text)
        if not 0 < len(self.text) <= MAX_PATTERN:
            raise InputError(
                f"The pattern for {self.purpose} must have between 1 and {MAX_PATTERN} characters"
            )
        with _time_limit(self.purpose):
            try:
                groups = re.compile(self.text).groups
            except (re.error, OverflowError, RecursionError) as error:
                raise InputError(
                    f"The pattern {shown} for {self.purpose} is no regular expression ({error}), "
                    rf"write for example image_(\d+)"
                ) from error
        if groups != 1:
            raise InputError(
                f"The pattern {shown} for {self.purpose} has {groups} groups in brackets, it needs "
                rf"exactly one, as in image_(\d+); brackets that only bind are written (?:…)"
            )

    def keys(self, names: Sequence[str]) -> list[str]:
        """Take the group out of every name.

        Raises:
            InputError: Names without a match, or the search takes too long.
        """
        pattern = re.compile(self.text)
        with _time_limit(self.purpose):
            found = [pattern.search(name[:MAX_NAME]) for name in names]
        missing = [
            name for name, hit in zip(names, found, strict=True) if hit is None or not hit[1]
        ]
        if missing:
            raise InputError(
                f"The pattern {readable(self.text)} for {self.purpose} does not fit "
                f"{listing(missing)}, correct it or rename"
            )
        return [hit[1] for hit in found if hit is not None]


@dataclass(frozen=True)
class Pair:
    """An image with its mask.

    Attributes:
        name: What samples of the image are called.
        image: The image file.
        mask: The mask file; None when the dataset is built without masks.
    """

    name: str
    image: SourceFile
    mask: SourceFile | None


def match(
    images: Sequence[SourceFile],
    masks: Sequence[SourceFile] | None,
    pattern: NamePattern | None = None,
    mask_pattern: NamePattern | None = None,
) -> list[Pair]:
    """Find the mask of every image.

    Args:
        images: Image files; pairs come in their order.
        masks: Mask files; None for a dataset without masks.
        pattern: Takes the common key out of an image's name; None: the name without endings.
        mask_pattern: The same for masks.

    Raises:
        InputError: Names twice, images without a mask, or masks without an image.
    """
    if not images:
        raise InputError("There is no image, give at least one")
    names = [stem(file.identifier) for file in images]
    _unique(names, images, "images")
    if masks is None:
        return [Pair(name, image, None) for name, image in zip(names, images, strict=True)]
    keys = _keys(images, pattern)
    mask_keys = _keys(masks, mask_pattern)
    _unique(keys, images, "images")
    _unique(mask_keys, masks, "masks")
    by_key = dict(zip(mask_keys, masks, strict=True))
    _complete(keys, images, mask_keys, masks)
    return [
        Pair(name, image, by_key[key]) for name, image, key in zip(names, images, keys, strict=True)
    ]


def _keys(files: Sequence[SourceFile], pattern: NamePattern | None) -> list[str]:
    names = [file.identifier for file in files]
    return [stem(name) for name in names] if pattern is None else pattern.keys(names)


def _unique(keys: Sequence[str], files: Sequence[SourceFile], what: str) -> None:
    first: dict[str, SourceFile] = {}
    for key, file in zip(keys, files, strict=True):
        if key in first:
            raise InputError(
                f"The {what} {readable(first[key].identifier)} and {readable(file.identifier)} "
                f"have the same name or key {readable(key)}, rename one of them"
            )
        first[key] = file


def _complete(
    keys: Sequence[str],
    images: Sequence[SourceFile],
    mask_keys: Sequence[str],
    masks: Sequence[SourceFile],
) -> None:
    alone = [f.identifier for k, f in zip(keys, images, strict=True) if k not in set(mask_keys)]
    spare = [f.identifier for k, f in zip(mask_keys, masks, strict=True) if k not in set(keys)]
    parts = [
        f"{len(names)} {what}: {listing(names)}"
        for names, what in ((alone, "images without a mask"), (spare, "masks without an image"))
        if names
    ]
    if parts:
        raise InputError(
            f"Images and masks do not fit together, there are {'; '.join(parts)}; give them the "
            f"same names or a pattern that takes the common part out of the names"
        )


def read_table(path: Path, what: str) -> dict[str, str]:
    """Read a tab-separated table of two columns: sample or file name, and something of it.

    Args:
        path: An untrusted file.
        what: What the second column holds, for messages: "groups" or "weights".

    Raises:
        InputError: It is no such table, or tells two things of one name.
    """
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise InputError(f"The table of {what} is larger than 16 MB, give two columns alone")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"The table of {what} cannot be read, give a tab-separated text file"
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 2 or not all(cells):
            raise InputError(
                f"Line {number} of the table of {what} has {len(cells)} columns or an empty one, "
                f"give two columns with a tab between, the name first"
            )
        if found.setdefault(cells[0], cells[1]) != cells[1]:
            raise InputError(
                f"The table of {what} tells {readable(found[cells[0]])} and {readable(cells[1])} "
                f"of {readable(cells[0])}, leave one"
            )
    return found
