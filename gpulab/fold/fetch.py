"""Fetches a large file: goes on after an interruption, and checks what has arrived."""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpulab.errors import InputError

BLOCK = 1 << 20  # bytes
ATTEMPTS = 5
TIMEOUT = 60.0  # seconds without a byte
WAIT = 2.0  # seconds before the second attempt; doubled before each further one
SCHEMES = ("https", "http", "file")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
PROGRESS = 10.0  # seconds between two lines of progress


@dataclass(frozen=True)
class Fetched:
    """A file that has arrived.

    Attributes:
        path: Where it lies.
        size: Its size in bytes.
        sha256: Its SHA-256 in hexadecimal digits, computed from the file as it lies.
    """

    path: Path
    size: int
    sha256: str


def fetch(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    attempts: int = ATTEMPTS,
    wait: float = WAIT,
) -> Fetched:
    """Fetch a file, going on where a broken connection, or an earlier call, stopped.

    What has arrived so far lies in `<target>.part`, beside it `<target>.etag` says of which version
    of the file it is. The target appears when size and sum are right.

    Args:
        url: Address: https, http or file.
        target: Where the file shall lie.
        size: Its size in bytes where that is known; otherwise what the server says is checked.
        sha256: Its SHA-256 in hexadecimal digits, where that is known.
        attempts: How often to try.
        wait: Seconds before the second attempt.

    Raises:
        InputError: The file cannot be had, it is another one, or the disk is full.
    """
    _check_address(url)
    part = target.with_name(f"{target.name}.part")
    problem: Exception | None = None
    for attempt in range(attempts):
        if attempt:
            print(f"The connection broke ({problem}): going on", flush=True)
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            _fetch_rest(url, part, size)
            break
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
            elif error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise InputError(f"{url} cannot be had: the server says {error}") from error
            problem = error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise InputError(
                    f"{part.name} cannot be written ({error.strerror}): make room on the disk of"
                    " the jobs' folders"
                ) from error
            if url.startswith("file:"):
                raise InputError(f"{url} cannot be read: {error}") from error
            problem = error
    else:
        raise InputError(
            f"The download of {url} broke off {attempts} times ({problem}): try again later"
        )
    target.with_name(f"{target.name}.etag").unlink(missing_ok=True)
    found = _check(part, url, size, sha256)
    part.replace(target)
    return Fetched(target, found.size, found.sha256)


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_address(url: str) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise InputError(f"{url} is no address that can be fetched: give one with https or file")


def _fetch_rest(url: str, part: Path, size: int | None) -> None:
    """Append what is missing; begin again when the server cannot go on or has another file.

    Raises:
        http.client.IncompleteRead: Less arrived than the server had announced.
    """
    version = part.with_name(f"{part.name.removesuffix('.part')}.etag")
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have == size:
        return
    request = urllib.request.Request(url)  # noqa: S310 - the scheme was checked
    known = version.read_text(encoding="utf-8") if version.exists() else ""
    if have and known:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", known)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        goes_on = getattr(answer, "status", None) == http.HTTPStatus.PARTIAL_CONTENT
        if goes_on and _start(answer) != have:
            raise http.client.HTTPException("the server goes on at another place")
        have = have if goes_on else 0
        announced = _announced(answer, have)
        _refuse_size(url, announced, size)
        _require_room(part, (announced or 0) - have)
        # Only a strong validator says that the rest belongs to what is there already.
        tag = answer.headers.get("ETag") or ""
        version.write_text(tag if not tag.startswith("W/") else "", encoding="utf-8")
        with part.open("ab" if goes_on else "wb") as file:
            for block in _with_progress(answer, have, announced):
                file.write(block)
                have += len(block)
                # One byte too many is enough to know that this is another file.
                _refuse_size(url, have if size is not None and have > size else None, size)
    if announced is not None and have < announced:
        raise http.client.IncompleteRead(b"", announced - have)


def _start(answer: Any) -> int:
    """Return where a partial answer begins: `bytes 100-199/200` begins at 100."""
    unit, _, places = (answer.headers.get("Content-Range") or "").partition(" ")
    first = places.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else -1


def _announced(answer: Any, have: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return have + int(length) if length and length.isdigit() else None


def _with_progress(answer: Any, have: int, total: int | None) -> Iterator[bytes]:
    shown = time.monotonic()
    while block := answer.read(BLOCK):
        yield block
        have += len(block)
        if time.monotonic() - shown > PROGRESS:
            shown = time.monotonic()
            of = f" of {total / 1e6:.0f}" if total else ""
            print(f"{have / 1e6:.0f}{of} MB", flush=True)


def _require_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise InputError(
            f"{part.name.removesuffix('.part')} needs {needed / 1e9:.1f} GB more, but only"
            f" {free / 1e9:.1f} GB are free on the disk of the jobs' folders: make room"
        )


def _refuse_size(url: str, found: int | None, wanted: int | None) -> None:
    if found is not None and wanted is not None and found != wanted:
        raise InputError(
            f"{url} has {found} bytes where {wanted} were expected: it is not the file that was"
            " meant, or it was changed"
        )


def _check(part: Path, url: str, size: int | None, sha256: str | None) -> Fetched:
    found = Fetched(part, part.stat().st_size, sum_of(part))
    try:
        _refuse_size(url, found.size, size)
        if sha256 is not None and found.sha256 != sha256.lower():
            raise InputError(
                f"{url} has the SHA-256 {found.sha256} where {sha256.lower()} was expected: it is"
                " not the file that was meant, or it was changed on its way"
            )
    except InputError:
        part.unlink()  # going on would not make it right
        raise
    return found
