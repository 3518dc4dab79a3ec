"""Downloads a large file: resumes after an interruption, and leaves nothing wrong behind."""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.request
from pathlib import Path

from localgalaxy.console import LocalGalaxyError

BLOCK = 1 << 20
ATTEMPTS = 5
TIMEOUT = 60.0  # seconds without a byte
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

ZENODO_URL = "https://zenodo.org/records/6091361/files/combined_CT_datasets.h5?download=1"
ZENODO_SIZE = 295_505_920
ZENODO_NAME = "combined_CT_datasets.h5"


def download_hdf5(url: str, target: Path, size: int, *, attempts: int = ATTEMPTS) -> Path:
    """Download an HDF5 file of known size unless it is there already.

    What has arrived is kept in `<target>.part`, so that an interrupted download goes on where it
    stopped, also in a later call. The target appears when size and signature are right.

    Args:
        url: Address of the file.
        target: Where the file shall lie.
        size: Its exact size in bytes.
        attempts: How often to go on after a broken connection.

    Returns:
        The target.

    Raises:
        LocalGalaxyError: The file cannot be had, or it is not the expected one.
    """
    if target.is_file() and target.stat().st_size == size:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    problem = "the connection ended early"
    for _ in range(attempts):
        try:
            _fetch_rest(url, part, size)
        except urllib.error.HTTPError as error:
            raise LocalGalaxyError(f"{url} cannot be had: the server says {error}.") from error
        except (OSError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        if part.exists() and part.stat().st_size >= size:
            break
    else:
        raise LocalGalaxyError(
            f"The download of {url} broke off ({problem}): start again, and it goes on from there."
        )
    _check(part, size, url)
    part.replace(target)
    return target


def _fetch_rest(url: str, part: Path, size: int) -> None:
    """Append what is missing; begin again when the server does not know how to go on."""
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    if have >= size:
        return
    request = urllib.request.Request(url)  # noqa: S310 - the address is ours
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if not goes_on:
            have = 0
        rest = answer.headers.get("Content-Length")
        if rest is not None and have + int(rest) != size:
            part.unlink(missing_ok=True)
            raise _wrong_size(url, have + int(rest), size)
        bar = tqdm(total=size, initial=have, unit="B", unit_scale=True, desc=part.stem)
        with part.open("ab" if goes_on else "wb") as file, bar:
            # One block beyond the size is enough to know that this is another file.
            while have <= size and (block := answer.read(BLOCK)):
                file.write(block)
                have += len(block)
                bar.update(len(block))


def _check(part: Path, size: int, url: str) -> None:
    with part.open("rb") as file:
        signature = file.read(len(HDF5_SIGNATURE))
    found = part.stat().st_size
    if found == size and signature == HDF5_SIGNATURE:
        return
    part.unlink()
    if found != size:
        raise _wrong_size(url, found, size)
    raise LocalGalaxyError(f"{url} is not an HDF5 file.")


def _wrong_size(url: str, found: int, size: int) -> LocalGalaxyError:
    return LocalGalaxyError(f"{url} has {found} bytes where {size} were expected.")


def main(folder: Path) -> int:
    """Download the tutorial's dataset into `folder` and return the exit code."""
    try:
        download_hdf5(ZENODO_URL, folder / ZENODO_NAME, ZENODO_SIZE)
    except LocalGalaxyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
