"""Stands between ColabFold's client of MSA servers and the network, in a process of its own.

ColabFold's client trusts the server: it unpacks any archive, reads answers of any size, follows
redirections and asks again for ever. Here an answer is checked before the client sees it, and what
would make it wait for ever ends the query instead.
"""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20
MAX_ANSWER = 1 * MIB
MAX_ARCHIVE = 512 * MIB
MAX_UNPACKED = 512 * MIB
MAX_MEMBERS = 50
TRIES = 5
SILENCE = 30.0  # seconds until a server that says nothing counts as one that does not answer
STATUSES = {"PENDING", "RUNNING", "UNKNOWN", "RATELIMIT", "COMPLETE", "ERROR", "MAINTENANCE"}
WAITING = {
    "PENDING": "queued at the server",
    "UNKNOWN": "queued at the server",
    "RUNNING": "the server searches",
    "RATELIMIT": "the server accepts no more queries at the moment, asking again",
}

_TICKET = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MEMBER = re.compile(r"(\./)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}")


class GaveUpError(BaseException):
    """The server cannot be used for a query; no `Exception`, for ColabFold would try those again.

    Attributes:
        for_all: Whether the other queries would end alike.
    """

    def __init__(self, sentence: str, *, for_all: bool = False) -> None:
        super().__init__(sentence)
        self.for_all = for_all


@dataclass
class Answer:
    """What ColabFold's client sees of an answer.

    Attributes:
        content: The answer's bytes.
        value: The checked JSON object of a ticket; None for an archive.
    """

    content: bytes
    value: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The answer for messages."""
        return self.content[:200].decode("utf-8", "replace")

    def json(self) -> dict[str, Any]:
        """Return the ticket."""
        if self.value is None:
            raise ValueError("no ticket")
        return self.value


@dataclass
class Guard:
    """Takes the place of the `requests` module in ColabFold's client.

    Attributes:
        host: The server's name for messages.
        patience: Seconds that a query may take.
        tell: Is given a line when the server's state changes.
        pause: Seconds between two tries of a request that failed.
        max_archive: Bytes of an archive at most.
    """

    host: str
    patience: float
    tell: Callable[[str], None]
    pause: float = 5.0
    max_archive: int = MAX_ARCHIVE
    _deadline: float = field(default=0.0, init=False)
    _last: str = field(default="", init=False)

    def begin(self) -> None:
        """Start the clock of a query."""
        self._deadline = time.monotonic() + self.patience
        self._last = ""

    @property
    def exceptions(self) -> Any:
        """The exceptions that ColabFold's client looks for."""
        import requests

        return requests.exceptions

    def post(self, url: str, **options: Any) -> Answer:
        """Submit a query, as `requests.post` does."""
        return self._ticket(self._ask("POST", url, MAX_ANSWER, options))

    def get(self, url: str, **options: Any) -> Answer:
        """Ask for a ticket's state or for its archive, as `requests.get` does."""
        if "/result/download/" in url:
            return Answer(self._ask("GET", url, self.max_archive, options))
        return self._ticket(self._ask("GET", url, MAX_ANSWER, options))

    def _ask(self, method: str, url: str, limit: int, options: Mapping[str, Any]) -> bytes:
        import requests

        for number in range(TRIES):
            if number:
                self.tell("no answer, asking again")
                time.sleep(self.pause)
            self._check_time()
            try:
                with requests.request(
                    method,
                    url,
                    stream=True,
                    allow_redirects=False,
                    timeout=SILENCE,
                    headers=options["headers"],
                    data=options.get("data"),
                ) as response:
                    return self._read(response, limit)
            except requests.exceptions.RequestException:
                continue
        raise GaveUpError(
            f"The MSA server {self.host} does not answer or breaks off, try again later",
            for_all=True,
        )

    def _read(self, response: Any, limit: int) -> bytes:
        import requests

        if 300 <= response.status_code < 400:
            raise GaveUpError(
                f"The MSA server {self.host} sends us on to another address, which we do not "
                f"follow, tell the administrator",
                for_all=True,
            )
        # A refusal for too many queries is an answer with a ticket, whatever its number.
        if response.status_code >= 500:
            raise requests.exceptions.HTTPError(str(response.status_code))
        parts, size = [], 0
        for part in response.iter_content(MIB):
            size += len(part)
            if size > limit:
                raise GaveUpError(
                    f"The MSA server {self.host} sent more than {limit // MIB} MiB for this query"
                )
            self._check_time()
            parts.append(part)
        return b"".join(parts)

    def _ticket(self, content: bytes) -> Answer:
        import json

        try:
            value = json.loads(content)
        except ValueError:
            value = None
        status = value.get("status") if isinstance(value, dict) else None
        if not isinstance(value, dict) or status not in STATUSES:
            raise GaveUpError(
                f"The address of the MSA server {self.host} answers something else than a ticket, "
                f"tell the administrator",
                for_all=True,
            )
        if status == "MAINTENANCE":
            raise GaveUpError(
                f"The MSA server {self.host} is under maintenance, try again later", for_all=True
            )
        if status == "ERROR":
            raise GaveUpError(f"The MSA server {self.host} could not search this query")
        if status != "RATELIMIT" and not _TICKET.fullmatch(str(value.get("id", ""))):
            raise GaveUpError(f"The MSA server {self.host} gave no usable ticket for this query")
        if status != self._last and status in WAITING:
            self.tell(WAITING[status])
        self._last = status
        return Answer(content, value)

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise GaveUpError(
                f"The MSA server {self.host} was not done after {self.patience / 60:.0f} minutes, "
                f"try again later"
            )


@dataclass
class MemberFilter:
    """Lets nothing but small plain files out of an archive, into the folder itself.

    After `install` the standard library asks it for each member before it writes anything of it.

    Attributes:
        host: The server's name for messages.
        max_unpacked: Bytes of all members of an archive at most.
    """

    host: str
    max_unpacked: int = MAX_UNPACKED
    _size: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)

    def begin(self) -> None:
        """Start counting anew, for another query."""
        self._size = self._count = 0

    def install(self) -> None:
        """Let every archive that this process unpacks be checked."""
        if hasattr(tarfile, "data_filter"):
            # The hook of the standard library: https://docs.python.org/3.11/library/tarfile.html
            tarfile.TarFile.extraction_filter = staticmethod(self)
            return
        # Python before 3.11.4, such as Debian 12's, asks nobody.
        unpack = tarfile.TarFile.extractall

        def check_and_unpack(archive: tarfile.TarFile, path: str = ".", **options: Any) -> None:
            members = options.pop("members", None) or archive
            unpack(archive, path, (self(member, path) for member in members), **options)

        tarfile.TarFile.extractall = check_and_unpack  # type: ignore[method-assign, assignment]

    def __call__(self, member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        """Return the member, or end the query."""
        self._count += 1
        self._size += member.size
        if not member.isreg() or not _MEMBER.fullmatch(member.name):
            what = repr(member.name[:60])
            raise GaveUpError(
                f"The archive of the MSA server {self.host} holds {what}, which is no plain file "
                f"of an alignment, nothing of it is used",
                for_all=True,
            )
        if self._count > MAX_MEMBERS or self._size > self.max_unpacked:
            raise GaveUpError(
                f"The archive of the MSA server {self.host} unpacks to more than "
                f"{self.max_unpacked // MIB} MiB or {MAX_MEMBERS} files, nothing of it is used"
            )
        return tarfile.data_filter(member, path) if hasattr(tarfile, "data_filter") else member
