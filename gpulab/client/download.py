"""Fetches the outputs of a job. Names come from a server and are not trusted."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.client.network import again, ask
from gpulab.client.stream import open_dataset, unfinished_file
from gpulab.errors import InputError

if TYPE_CHECKING:
    from gpulab.client.galaxy import Galaxy

BLOCK = 1 << 16  # bytes; what a broken connection leaves unfinished is fetched again
LARGE = 20 << 20  # bytes from which on a bar is shown
MAX_NAME_BYTES = 150
MAX_DEPTH = 5  # collections within collections
MAX_NOTEBOOK_BYTES = 100 << 20  # of an executed notebook that is read for its traceback
POLL = 2.0  # seconds
ENDINGS = {"tool_markdown": "md", "markdown": "md", "tabular": "tsv", "data": "", "binary": ""}
OWN_NAMES = {"files"}  # collections whose elements are called as the notebook called its files
UNFINISHED = {"new", "upload", "queued", "running", "setting_metadata"}


def safe_name(name: str) -> str:
    """Return a file name that lies where it is put, whatever the server says.

    Letters, digits and `. _ + = ( ) -` and single blanks stay; the rest becomes `_`. No name begins
    with a dot, ends with one, or is one that Windows reserves.
    """
    plain = re.sub(r"[^\w.+=() -]+", "_", name).strip(" .")
    while len(plain.encode()) > MAX_NAME_BYTES:
        # The ending says what it is, so the middle is what gives way.
        half = len(plain) // 2
        plain = plain[: half - 1] + plain[half + 1 :]
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", plain):
        plain = f"_{plain}"
    return plain or "output"


def free_name(name: str, taken: set[str]) -> str:
    """Return `name`, with a number where the folder has it already; upper case is not enough."""
    stem, dot, ending = name.partition(".")
    number = 1
    unique = name
    while unique.casefold() in taken:
        number += 1
        unique = f"{stem}-{number}{dot}{ending}"
    taken.add(unique.casefold())
    return unique


class Downloader:
    """Fetches outputs into a folder.

    Args:
        galaxy: The connection.
        show: Whether large files show a bar on standard error.
    """

    def __init__(self, galaxy: Galaxy, *, show: bool) -> None:
        self._galaxy = galaxy
        self._show = show

    def fetch_outputs(
        self, details: Mapping[str, Any], folder: Path, *, limit: float
    ) -> dict[str, Path]:
        """Fetch every output of a job that holds something.

        Args:
            details: What Galaxy says about the job.
            folder: Where they shall lie.
            limit: Seconds in which an output may still become ready.

        Returns:
            Name of the output → file or folder.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be made: {error.strerror}") from error
        fetched: dict[str, Path] = {}
        taken = {"log.txt"}
        inside = set()
        for name, reference in (details.get("output_collections") or {}).items():
            collection = self._ready(
                f"dataset_collections/{reference['id']}?instance_type=history", limit
            )
            inside |= set(_datasets_in(collection.get("elements") or ()))
            path = folder / free_name(safe_name(name), taken)
            if self._fetch_elements(collection.get("elements") or (), path, name, 1):
                fetched[name] = path
        for name, reference in (details.get("outputs") or {}).items():
            if reference.get("src", "hda") != "hda" or reference["id"] in inside:
                continue
            dataset = self._ready(f"datasets/{reference['id']}", limit)
            if not _holds_something(dataset):
                continue
            path = folder / free_name(_with_ending(safe_name(name), dataset, own=False), taken)
            self.fetch(dataset, path)
            fetched[name] = path
        return fetched

    def _ready(self, path: str, limit: float) -> dict[str, Any]:
        """Return a dataset or collection once Galaxy has stopped to work on it."""
        deadline = time.monotonic() + limit
        while True:
            found = dict(self._galaxy.read(path, "reading an output"))
            states = {found.get("state"), found.get("populated_state")}
            states |= {
                (one.get("object") or {}).get("state") for one in found.get("elements") or ()
            }
            if not states & UNFINISHED or time.monotonic() > deadline:
                return found
            time.sleep(POLL)

    def _fetch_elements(
        self, elements: Sequence[dict[str, Any]], folder: Path, output: str, depth: int
    ) -> int:
        """Fetch the elements of a collection and return how many there were."""
        taken: set[str] = set()
        count = 0
        for element in elements:
            item = element.get("object") or {}
            name = safe_name(str(element.get("element_identifier") or ""))
            if element.get("element_type") == "dataset_collection":
                if depth < MAX_DEPTH:
                    below = folder / free_name(name, taken)
                    count += self._fetch_elements(
                        item.get("elements") or [], below, output, depth + 1
                    )
                continue
            dataset = self._galaxy.read(f"datasets/{item['id']}", "reading an output")
            if not _holds_something(dataset):
                continue
            folder.mkdir(parents=True, exist_ok=True)
            name = _with_ending(name, dataset, own=output in OWN_NAMES)
            self.fetch(dataset, folder / free_name(name, taken))
            count += 1
        return count

    def fetch(self, dataset: Mapping[str, Any], path: Path) -> None:
        """Fetch one dataset; the file appears when it is whole.

        Raises:
            InputError: The file cannot be written, or the server refuses.
            ServerError: The network fails for too long.
        """
        doing = f"downloading {path.name}"
        size = int(dataset.get("file_size") or 0)
        try:
            with unfinished_file(path) as part:
                with self._bar(path.name, size) as bar:
                    again(lambda: self._stream(str(dataset["id"]), part, size, bar, doing), doing)
                if size and part.stat().st_size != size:
                    raise InputError(
                        f"{path.name} has {part.stat().st_size} bytes where Galaxy says {size}: "
                        "fetch the results again"
                    )
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from error

    def write_text(self, path: Path, text: str) -> Path:
        """Write a text; the file appears when it is whole."""
        with unfinished_file(path) as part:
            part.write_text(text, encoding="utf-8")
        return path

    def _bar(self, name: str, size: int) -> Any:
        from tqdm import tqdm

        shown = self._show and size >= LARGE
        return tqdm(total=size, unit="B", unit_scale=True, desc=name, disable=not shown)

    def _stream(self, dataset: str, part: Path, size: int, bar: Any, doing: str) -> None:
        """Append what is missing; begin again where the server cannot go on."""
        have = part.stat().st_size
        if have >= size > 0:
            return
        with open_dataset(self._galaxy, dataset, have, doing) as answer:
            goes_on = answer.status_code == 206
            bar.n = have if goes_on else 0
            blocks = answer.iter_content(BLOCK)
            with part.open("ab" if goes_on else "wb") as file:
                while block := ask(lambda: next(blocks, b""), doing):
                    file.write(block)
                    bar.update(len(block))


def read_traceback(galaxy: Galaxy, details: Mapping[str, Any]) -> str:
    """Return the traceback that stands in the executed notebook of a failed job, else empty."""
    reference = (details.get("outputs") or {}).get("executed")
    if not reference:
        return ""
    dataset = galaxy.read(f"datasets/{reference['id']}", "reading the executed notebook")
    if not 0 < int(dataset.get("file_size") or 0) <= MAX_NOTEBOOK_BYTES:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "executed.ipynb"
        Downloader(galaxy, show=False).fetch(dataset, path)
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            outputs = [one for cell in cells for one in cell.get("outputs", ())]
            errors = [one for one in outputs if one.get("output_type") == "error"]
            return "\n".join(str(line) for line in errors[-1]["traceback"]) if errors else ""
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ""  # the server's file is no notebook: then there is standard error


def _datasets_in(elements: Any) -> Iterator[str]:
    for element in elements:
        item = element.get("object") or {}
        if element.get("element_type") == "dataset_collection":
            yield from _datasets_in(item.get("elements") or ())
        elif "id" in item:
            yield str(item["id"])


def _holds_something(dataset: Mapping[str, Any]) -> bool:
    gone = dataset.get("purged") or dataset.get("state") in ("discarded", "deferred", "empty")
    return not gone and int(dataset.get("file_size") or 0) > 0


def _with_ending(name: str, dataset: Mapping[str, Any], *, own: bool) -> str:
    """Return the name with the ending of its datatype, unless it has that or one of its own."""
    datatype = str(dataset.get("extension") or dataset.get("file_ext") or "")
    ending = safe_name(ENDINGS.get(datatype, datatype)) if ENDINGS.get(datatype, datatype) else ""
    has_one = name.casefold().endswith(f".{ending.casefold()}") or (own and Path(name).suffix)
    return name if has_one or not ending else f"{name}.{ending}"
