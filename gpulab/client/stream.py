"""Reading a dataset's content as it comes, into a file that appears when it is whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from gpulab.client.network import ask, refusal
from gpulab.client.server import is_loopback
from gpulab.errors import InputError

if TYPE_CHECKING:
    import requests

    from gpulab.client.galaxy import Galaxy

MAX_REDIRECTIONS = 5


@contextmanager
def open_dataset(
    galaxy: Galaxy, dataset: str, start: int, doing: str
) -> Iterator[requests.Response]:
    """Give the answer whose body is a dataset's content, from a byte on where the server can.

    A server may send the download on to a store of its own; the key does not go there.

    Args:
        galaxy: The connection.
        dataset: Id of the dataset.
        start: The first byte that is wanted.
        doing: What is done, for messages.

    Raises:
        NoAnswerError: Another attempt may succeed.
        InputError: The server refuses, or sends the download to a place that is not encrypted.
    """
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    url = f"{galaxy.url}/datasets/{dataset}/display?raw=true"
    for _ in range(MAX_REDIRECTIONS):
        answer = _get(galaxy, url, headers, doing)
        with answer:
            if answer.is_redirect:
                url = _elsewhere(galaxy, urljoin(url, answer.headers["location"]))
                continue
            if answer.status_code not in (200, 206):
                raise refusal(answer.status_code, answer.raw.read(2000), doing)
            yield answer
            return
    raise InputError(f"The server sends on without an end while {doing}: tell its administrator")


def _get(galaxy: Galaxy, url: str, headers: dict[str, str], doing: str) -> requests.Response:
    import requests

    from gpulab.client.galaxy import ANSWER_LIMIT, CONNECT_LIMIT

    at_home = urlsplit(url)[:2] == urlsplit(galaxy.url)[:2]
    return ask(
        lambda: requests.get(
            url,
            headers={**headers, "x-api-key": galaxy.key} if at_home else headers,
            stream=True,
            timeout=(CONNECT_LIMIT, ANSWER_LIMIT),
            allow_redirects=False,
        ),
        doing,
    )


def _elsewhere(galaxy: Galaxy, url: str) -> str:
    parts = urlsplit(url)
    here = urlsplit(galaxy.url)
    safe = parts.scheme == "https" or is_loopback(parts.hostname or "") or parts[:2] == here[:2]
    if not safe:
        raise InputError(f"The server sends downloads on to {url[:200]}, which is not encrypted")
    return url


@contextmanager
def unfinished_file(path: Path) -> Iterator[Path]:
    """Give a new file beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".unfinished-", dir=path.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
