"""Brings files into a history: what the user has on the server already is not sent again."""

from __future__ import annotations

import hashlib
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpulab.client.errors import ServerError
from gpulab.client.network import again, once
from gpulab.client.tus import Progress, TusUpload
from gpulab.errors import InputError

if TYPE_CHECKING:
    from gpulab.client.galaxy import Galaxy

HASH = "SHA-256"
CANDIDATES = 20  # datasets that are looked at
HASH_LIMIT = 60.0  # seconds in which the server may compute the hashes of a file's candidates
# Where a file's name says it, the datatype is said too: Galaxy need not guess.
DATATYPES = {".h5": "h5", ".hdf5": "h5", ".ipynb": "ipynb", ".onnx": "onnx", ".zip": "zip"}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Uploader:
    """Brings files into a history.

    Args:
        galaxy: The connection.
        user: Id of the user.
        history: Id of the history.
        show: Whether progress is shown on standard error.
    """

    def __init__(self, galaxy: Galaxy, user: str, history: str, *, show: bool) -> None:
        self._galaxy = galaxy
        self._user = user
        self._history = history
        self._show = show

    def bring(self, path: Path, datatype: str = "", *, fresh: bool = False) -> str:
        """Return the id of a dataset in the history that holds the file.

        Args:
            path: The file.
            datatype: Galaxy's datatype; by default by the file's name, else Galaxy finds out.
            fresh: Whether it must be a dataset that no job has used yet.

        Raises:
            InputError: The server refuses.
            ServerError: The network fails for too long.
        """
        datatype = datatype or DATATYPES.get(path.suffix.lower(), "auto")
        digest = sha256_of(path)
        known = find_known(self._galaxy, path, digest, datatype)
        if known:
            if self._show:
                print(f"{path.name}: is on the server already", file=sys.stderr)
            return known if self._has(known) and not fresh else self._copy(known)
        return self._send(path, digest, datatype)

    def _copy(self, dataset: str) -> str:
        copied = once(
            lambda: self._galaxy.histories.copy_dataset(self._history, dataset),
            lambda: self._find_copy(dataset),
            "copying a dataset into the history",
        )
        return str(copied["id"])

    def _has(self, dataset: str) -> bool:
        """Tell whether the dataset is in this very history."""
        found = self._galaxy.read(f"datasets/{dataset}", "reading a dataset")
        return bool(found.get("history_id") == self._history)

    def _find_copy(self, dataset: str) -> dict[str, Any] | None:
        for item in self._galaxy.read(
            f"histories/{self._history}/contents", "reading the history", v="dev", view="detailed"
        ):
            if item.get("copied_from_history_dataset_association_id") == dataset:
                return dict(item)
        return None

    def _send(self, path: Path, digest: str, datatype: str) -> str:
        upload = TusUpload(self._galaxy, path, digest, self._user)
        with upload_bar(path, show=self._show) as progress:
            session = upload.send(progress)
        mark = f"gpulab-upload:{uuid.uuid4().hex}"
        payload = fetch_payload(self._history, path.name, datatype, session, digest, mark)
        made = once(
            lambda: self._galaxy.tools._post(dict(payload), url=f"{self._galaxy.url}/tools/fetch"),
            lambda: self._find_upload(mark),
            f"handing over {path.name}",
        )
        upload.forget()
        return str(made["outputs"][0]["id"])

    def _find_upload(self, mark: str) -> dict[str, Any] | None:
        found = find_datasets(self._galaxy, {"tag-eq": mark})
        return {"outputs": found} if found else None


def fetch_payload(
    history: str, name: str, datatype: str, session: str, digest: str, mark: str
) -> dict[str, Any]:
    """Return the request by which Galaxy makes a dataset of what was sent.

    BioBlend's own leaves out the hash, by which Galaxy checks what arrived, and the tags, and lets
    Galaxy change the ends of lines.
    """
    element = {
        "src": "files",
        "name": name,
        "ext": datatype,
        "dbkey": "?",
        "to_posix_lines": False,
        "space_to_tab": False,
        "auto_decompress": False,
        "tags": [f"sha256:{digest}", mark],
        "hashes": [{"hash_function": HASH, "hash_value": digest}],
    }
    return {
        "history_id": history,
        "targets": [{"destination": {"type": "hdas"}, "elements": [element]}],
        "files_0|file_data": {"session_id": session, "name": name},
        "auto_decompress": False,
    }


def find_known(galaxy: Galaxy, path: Path, digest: str, datatype: str) -> str:
    """Return the id of a dataset of the user that holds just this file, or an empty text.

    Datasets that were sent by this client have the hash as a tag; others are looked for by name.
    In both cases the hash counts that the server itself computed.
    """
    size = path.stat().st_size
    deadline = time.monotonic() + HASH_LIMIT
    seen = set()
    for wanted in ({"tag-eq": f"sha256:{digest}"}, {"name-eq": path.name}):
        for item in find_datasets(galaxy, {**wanted, "state": "ok"}):
            fits = datatype in ("auto", item.get("extension"))
            if item["id"] in seen or not fits or item.get("file_size") != size:
                continue
            seen.add(item["id"])
            if _server_hash(galaxy, item, deadline) == digest:
                return str(item["id"])
    return ""


def find_datasets(galaxy: Galaxy, filters: dict[str, str]) -> list[dict[str, Any]]:
    """Return datasets of the user, of any history, that are not deleted."""
    wanted = {**filters, "deleted": "False", "purged": "False"}
    found = galaxy.read(
        "datasets",
        "looking for the file on the server",
        q=list(wanted),
        qv=list(wanted.values()),
        view="detailed",
        limit=CANDIDATES,
        order="create_time-dsc",
    )
    return [item for item in found if item.get("history_content_type") == "dataset"]


def _server_hash(galaxy: Galaxy, item: dict[str, Any], deadline: float) -> str:
    """Return the SHA-256 that the server computed, asked for where it has not; else empty."""
    if "hashes" not in item:
        return ""  # an older Galaxy
    found = _hash_in(item)
    if found or time.monotonic() > deadline:
        return found
    url = f"{galaxy.url}/datasets/{item['id']}/hash"
    try:
        again(
            lambda: galaxy.make_put_request(url, payload={"hash_function": HASH}),
            "asking for a hash",
        )
    except (InputError, ServerError):
        return ""  # a server that computes none; then the file is sent
    while not found and time.monotonic() < deadline:
        time.sleep(1)
        found = _hash_in(galaxy.read(f"datasets/{item['id']}", "reading a dataset"))
    return found


def _hash_in(item: dict[str, Any]) -> str:
    for one in item.get("hashes") or ():
        if one.get("hash_function") == HASH and not one.get("extra_files_path"):
            return str(one.get("hash_value", "")).lower()
    return ""


@contextmanager
def upload_bar(path: Path, *, show: bool) -> Iterator[Progress]:
    """Give a function that shows how many bytes of a file are sent."""
    from tqdm import tqdm

    size = path.stat().st_size
    with tqdm(
        total=size, unit="B", unit_scale=True, desc=path.name, disable=not show, leave=True
    ) as bar:

        def progress(sent: int) -> None:
            bar.update(sent - bar.n)

        yield progress
