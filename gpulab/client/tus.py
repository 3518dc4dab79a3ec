"""Sends a file in pieces by the tus protocol (tus.io), and goes on where an earlier try stopped.

BioBlend sends by the library tuspy. Its requests wait without a limit and follow redirections with
the key in their headers; it takes two files of one size for the same if they begin with the same
64 KiB, as HDF5 files of one layout do; and it cannot resume where the server asks for the metadata
of an upload, as Galaxy does. The protocol is three requests, so they are made here.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from gpulab.client.network import NoAnswerError, ask, gave_up, refusal
from gpulab.errors import InputError

if TYPE_CHECKING:
    import requests

    from gpulab.client.galaxy import Galaxy

PIECE = 8 << 20  # bytes in a request
PATIENCE = 300.0  # seconds without any progress
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # seconds between attempts without progress
GONE = frozenset({400, 403, 404, 410, 412})  # what a server says of an upload that it forgot

Progress = Callable[[int], None]


def uploads_folder() -> Path:
    """Return where addresses of unfinished uploads are kept; no key is among them."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "gpulab" / "uploads"


class TusUpload:
    """One file on its way to a server.

    Args:
        galaxy: The connection.
        path: The file.
        sha256: SHA-256 of the file, by which an unfinished upload is found again.
        user: Id of the user.
        folder: Where the address of an unfinished upload is kept.
        patience: Seconds without progress after which it gives up.
    """

    def __init__(
        self,
        galaxy: Galaxy,
        path: Path,
        sha256: str,
        user: str,
        *,
        folder: Path | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._galaxy = galaxy
        self._path = path
        self._size = path.stat().st_size
        self._patience = patience
        self._endpoint = f"{galaxy.url}/upload/resumable_upload"
        name = hashlib.sha256(f"{galaxy.base_url} {user} {sha256}".encode()).hexdigest()
        self._note = (folder or uploads_folder()) / f"{name}.json"
        self._url = ""
        self._offset = 0

    def send(self, progress: Progress) -> str:
        """Send what is missing and return the id of the upload for Galaxy.

        Args:
            progress: Is called with the number of bytes that lie on the server.

        Raises:
            InputError: The server refuses.
            ServerError: There was no progress for `patience` seconds.
        """
        self._url = self._remembered()
        known = False  # whether `_offset` is what the server has
        failures = 0
        deadline = time.monotonic() + self._patience
        while True:
            before = self._offset
            try:
                if not known:
                    self._find_offset()
                    known = True
                progress(self._offset)
                if self._offset >= self._size:
                    return self._url.rstrip("/").rpartition("/")[2]
                known = self._send_piece()
            except NoAnswerError as error:
                if time.monotonic() > deadline:
                    doing = f"sending {self._path.name}"
                    raise gave_up(error, doing, self._patience) from error
                known = False
                time.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1
            if self._offset > before:
                failures = 0
                deadline = time.monotonic() + self._patience

    def forget(self) -> None:
        """Forget the address, when Galaxy has taken the file."""
        self._note.unlink(missing_ok=True)

    def _request(self, method: str, url: str, **options: object) -> requests.Response:
        import requests

        from gpulab.client.galaxy import ANSWER_LIMIT, CONNECT_LIMIT

        headers = {"Tus-Resumable": "1.0.0", "x-api-key": self._galaxy.key}
        more = options.pop("headers", {})
        assert isinstance(more, dict)
        return ask(
            lambda: requests.request(
                method,
                url,
                headers=headers | more,
                timeout=(CONNECT_LIMIT, ANSWER_LIMIT),
                allow_redirects=False,
                **options,
            ),
            f"sending {self._path.name}",
        )

    def _refused(self, answer: requests.Response) -> Exception:
        return refusal(answer.status_code, answer.content, f"sending {self._path.name}")

    def _find_offset(self) -> None:
        """Learn how much the server has; begin anew where it has nothing."""
        if self._url:
            answer = self._request("HEAD", self._url)
            offset = answer.headers.get("upload-offset", "")
            if answer.ok and offset.isdecimal() and int(offset) <= self._size:
                self._offset = int(offset)
                return
            if not answer.ok and answer.status_code not in GONE:
                raise self._refused(answer)
            self.forget()
        self._create()

    def _create(self) -> None:
        # Galaxy's server does not let an upload go on that has no name and type.
        described = {"filename": self._path.name, "filetype": "application/octet-stream"}
        metadata = [f"{k} {b64encode(v.encode()).decode('ascii')}" for k, v in described.items()]
        headers = {"Upload-Length": str(self._size), "Upload-Metadata": ",".join(metadata)}
        answer = self._request("POST", self._endpoint, headers=headers)
        location = answer.headers.get("location")
        if answer.status_code != 201 or not location:
            raise self._refused(answer)
        self._url = self._own(urljoin(self._endpoint, location))
        self._offset = 0
        self._remember()

    def _send_piece(self) -> bool:
        """Send the next piece and tell whether the offset is known now."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            piece = file.read(PIECE)
        if not piece:
            raise InputError(f"{self._path.name} became shorter while it was sent: send it again")
        headers = {
            "Upload-Offset": str(self._offset),
            "Content-Type": "application/offset+octet-stream",
        }
        answer = self._request("PATCH", self._url, headers=headers, data=piece)
        offset = answer.headers.get("upload-offset", "")
        if answer.ok and offset.isdecimal():
            self._offset = int(offset)
            return True
        if answer.status_code in (409, *GONE):
            raise NoAnswerError("the server lost its place in the upload", sent=True)
        raise self._refused(answer)

    def _own(self, url: str) -> str:
        """Return the address if it is the server's own: the key goes nowhere else."""
        if urlsplit(url)[:2] != urlsplit(self._endpoint)[:2]:
            raise InputError(
                f"The server wants uploads sent to {url[:200]}: give that address as the server's, "
                "or ask its administrator"
            )
        return url

    def _remembered(self) -> str:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            url = str(note["url"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return url if urlsplit(url)[:2] == urlsplit(self._endpoint)[:2] else ""

    def _remember(self) -> None:
        try:
            self._note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished = self._note.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps({"url": self._url}), encoding="utf-8")
            unfinished.replace(self._note)
        except OSError:
            return  # a home that cannot be written only means that nothing is resumed
