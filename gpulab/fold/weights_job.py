"""The data manager that fetches weights: fetch, check, unpack, mark, and name a table's row."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from gpulab.errors import InputError
from gpulab.fold.fetch import Fetched, fetch
from gpulab.fold.full_disk import full_disk_told
from gpulab.fold.table_rows import MANAGER_FILE, one_line, row_value, write_row
from gpulab.fold.unpack import unpack
from gpulab.fold.weights import MODEL_TYPES, PARAMS, check_archives, missing_files, model_types_in
from gpulab.fold.weights_sets import WEIGHTS_SETS
from gpulab.jobs import OutputFolder

TABLE = "colabfold_weights"
FOLDER = "files/weights"
SOURCES_FILE = "sources.json"
# A folder of the administrator in which an interrupted download waits for the next job.
KEPT = "GPULAB_DOWNLOADS"
LARGEST = 20_000_000_000  # bytes that a set may unpack to; the largest published one has 6 GB
LICENCE_FILE = "LICENSE"
SHA256_DIGITS = 64


@dataclass(frozen=True)
class Source:
    """Where weights come from and what they are called.

    Attributes:
        name: What the form of the folding tool shall show.
        version: Date or number of the release.
        licence: Under which licence they are.
        urls: Addresses of a tar archive, or of the `.npz` files.
        names: What the file at each address is called.
        model_type: A type of model that they must hold, or empty.
        size: Size in bytes of the only file, where that is known.
        sums: The SHA-256 of each file, or nothing where no sums are known.
    """

    name: str
    version: str
    licence: str
    urls: tuple[str, ...]
    names: tuple[str, ...]
    model_type: str = ""
    size: int | None = None
    sums: tuple[str, ...] = ()


def weights_job(params: dict[str, Any], outputs: OutputFolder) -> None:
    """Fetch a set of weights and name its row in the table.

    Args:
        params: What the form gave: `source`, `name`, `sha256`.
        outputs: Gets `files/weights/` and `data_manager.json`.

    Raises:
        InputError: The weights cannot be had, or they are not what was asked for.
    """
    source = read_source(params)
    folder = outputs.folder(FOLDER)
    params_folder = folder / PARAMS
    params_folder.mkdir()
    with full_disk_told("weights"):
        fetched = _fetch_all(source, params_folder)
        model_types = _check(params_folder, source)
        _write_sources(folder / SOURCES_FILE, source, fetched)
    sums = [file.sha256 for file in fetched]
    row = {
        "value": row_value(f"{source.name} {source.version}", sums),
        "name": source.name,
        "version": source.version,
        "model_types": ",".join(model_types),
        "path": PurePosixPath(FOLDER).name,
        "licence": source.licence,
    }
    write_row(outputs.file(MANAGER_FILE), TABLE, row)
    print(f"{row['value']}: {row['model_types']}")


def read_source(params: dict[str, Any]) -> Source:
    """Return what the form says of the source.

    Raises:
        InputError: A text is missing or malformed.
    """
    form = params["source"]
    sums = tuple(str(params.get("sha256") or "").lower().split())
    if form["kind"] == "published":
        known = WEIGHTS_SETS[form["set"]]
        urls = known.urls
        if mirror := str(form.get("mirror") or "").strip():
            urls = tuple(f"{mirror.rstrip('/')}/{url.rpartition('/')[2]}" for url in urls)
        source = Source(
            name=f"{known.name} ({known.version})",
            version=known.version,
            licence=known.licence,
            urls=urls,
            names=tuple(_file_name(url) for url in urls),
            model_type=known.model_type,
            size=known.size,
        )
    else:
        names, urls = _given(form)
        source = Source(
            name=one_line(params.get("name"), "The name of the weights"),
            version=one_line(form["version"], "The version"),
            licence=one_line(form["licence"], "The licence"),
            urls=urls,
            names=names,
        )
    if str(params.get("name") or "").strip():
        source = replace(source, name=one_line(params["name"], "The name of the weights"))
    if sums and (
        len(sums) != len(source.urls)
        or not all(len(s) == SHA256_DIGITS and set(s) <= set("0123456789abcdef") for s in sums)
    ):
        raise InputError(
            f"{len(source.urls)} file(s) are fetched, so as many SHA-256 sums of 64 hexadecimal"
            " digits are needed, in the same order and separated by spaces, or none at all"
        )
    return replace(source, sums=sums)


def _given(form: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names and addresses of files that are no published set."""
    if form["kind"] == "datasets":
        files = form["files"]
        urls = tuple(Path(file["source_path"]).resolve().as_uri() for file in files)
        return tuple(_dataset_name(file) for file in files), urls
    urls = tuple(str(form["urls"] or "").split())
    if not urls:
        raise InputError("No address is given: write the address of a tar archive or of npz files")
    return tuple(_file_name(url) for url in urls), urls


def _dataset_name(file: dict[str, Any]) -> str:
    """Return what a dataset would be called as a file; its name may lack the ending."""
    name = PurePosixPath(str(file["element_identifier"])).name
    return name if name.endswith(f".{file['ext']}") else f"{name}.{file['ext']}"


def _fetch_all(source: Source, params: Path) -> list[Fetched]:
    """Fetch every file and leave the arrays in the folder."""
    fetched = []
    kept = os.environ.get(KEPT)
    for index, (name, url) in enumerate(zip(source.names, source.urls, strict=True)):
        print(f"Fetching {name}", flush=True)
        folder = Path(kept) if kept else params
        folder.mkdir(parents=True, exist_ok=True)
        # Two sets, or two mirrors, may call different files by one name.
        start = hashlib.sha256(url.encode()).hexdigest()[:8]
        sha256 = source.sums[index] if source.sums else None
        file = fetch(url, folder / f"{start}-{name}", size=source.size, sha256=sha256)
        print(f"{name}: {file.size:,} bytes, SHA-256 {file.sha256}", flush=True)
        try:
            _take(file.path, name, params)
        finally:
            file.path.unlink(missing_ok=True)
        fetched.append(file)
    return fetched


def _file_name(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name or not name.isprintable() or name.startswith("."):
        raise InputError(f"{url} ends with no name of a file: give the address of the file itself")
    return name


def _take(file: Path, name: str, params: Path) -> None:
    """Leave the arrays that a fetched file holds, or is, in the folder."""
    known = {name for kind in MODEL_TYPES.values() for name in kind.files()}
    if name in known:
        if (params / name).exists():
            raise InputError(f"{name} was given twice: give each file once")
        shutil.move(file, params / name)
        return
    taken = unpack(file, params, {*known, LICENCE_FILE}, limit=LARGEST)
    print(f"{name}: took {', '.join(taken) or 'nothing'}", flush=True)


def _check(params: Path, source: Source) -> list[str]:
    """Mark what is complete, and return the types of models.

    Raises:
        InputError: No type of model is complete, or the wanted one is not.
    """
    for kind in MODEL_TYPES.values():
        if all((params / name).is_file() for name in kind.files()):
            check_archives(params, kind.files())
            (params / kind.marker).touch()
    found = model_types_in(params.parent)
    if source.model_type and source.model_type not in found:
        missing = missing_files(params.parent, source.model_type)[0]
        raise InputError(
            f"These are not the weights of {source.name}: {missing} is missing; choose the set"
            " that they are of"
        )
    if not found:
        there = sorted(path.name for path in params.glob("*.npz"))
        raise InputError(
            "These files hold the five models of no type that ColabFold knows"
            f" (found: {', '.join(there) or 'no weights at all'}): give a complete set"
        )
    return found


def _write_sources(path: Path, source: Source, fetched: Sequence[Fetched]) -> None:
    """Keep what was fetched from where, beside the weights."""
    files = [
        {"name": name, "url": url, "size": file.size, "sha256": file.sha256}
        for name, url, file in zip(source.names, source.urls, fetched, strict=True)
    ]
    content = asdict(source) | {"files": files}
    for doubled in ("names", "urls", "size", "sums"):
        del content[doubled]
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
