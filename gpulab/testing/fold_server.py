"""A stand-in for a ColabFold MSA server: real searches in a small database, and bad manners.

`python -m gpulab.testing.fold_server DATABASE PORT` serves on loopback until it is ended. A query
that spells one of `SPELLED`, all of which are sequences of residues, gets it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from gpulab.fold.programs import colabfold, mmseqs
from gpulab.testing.fold_database import ENVIRONMENTAL, UNIREF

# Names of the files in a server's archive.
CLUSTERS_FILE = "uniref.a3m"
ENVIRONMENTAL_FILE = "bfd.mgnify30.metaeuk30.smag30.a3m"
PAIRS_FILE = "pair.a3m"
HITS_FILE = "pdb70.m8"


@dataclass
class Manners:
    """How the server behaves.

    Attributes:
        submissions: Statuses that it answers to submissions before it accepts one.
        polls: Statuses of a ticket before it is complete; the first is the submission's answer.
        archive: Makes the archive in place of a search.
        body: Answers every request with these bytes in place of a ticket.
        redirect: Sends every request to this address.
        broken: Number of downloads that break off in the middle.
    """

    submissions: list[str] = field(default_factory=list)
    polls: list[str] = field(default_factory=list)
    archive: Callable[[], bytes] | None = None
    body: bytes | None = None
    redirect: str = ""
    broken: int = 0


@dataclass
class Submission:
    """A query that came in.

    Attributes:
        path: `/ticket/msa` or `/ticket/pair`.
        mode: The mode that was asked for.
        agent: How the client introduced itself.
        sequences: The chains.
    """

    path: str
    mode: str
    agent: str
    sequences: tuple[str, ...]


@dataclass
class StandIn:
    """A running server.

    Attributes:
        database: Folder of the tiny database.
        manners: How it behaves; may be changed while it runs.
        url: Its address.
        submissions: What came in.
    """

    database: Path
    manners: Manners
    url: str = ""
    submissions: list[Submission] = field(default_factory=list)
    _tickets: dict[str, tuple[Submission, Manners]] = field(default_factory=dict)
    _polls: dict[str, list[str]] = field(default_factory=dict)
    _spelled: dict[str, Manners] = field(default_factory=dict)

    def submit(self, submission: Submission) -> dict[str, str]:
        """Answer a submission with a ticket."""
        self.submissions.append(submission)
        word = submission.sequences[0]
        manners = self.manners
        if word in SPELLED:
            manners = self._spelled.setdefault(word, SPELLED[word]())
        status = manners.submissions.pop(0) if manners.submissions else ""
        if status != "RATELIMIT":
            # The next client that spells it meets the same manners from their beginning.
            self._spelled.pop(word, None)
        if status:
            return {"status": status, "id": "1"}
        ticket = hashlib.sha256(repr(submission).encode()).hexdigest()[:32]
        self._tickets[ticket] = (submission, manners)
        self._polls[ticket] = list(manners.polls)
        return self.state(ticket)

    def state(self, ticket: str) -> dict[str, str]:
        """Answer the state of a ticket."""
        polls = self._polls.get(ticket)
        if polls is None:
            return {"status": "UNKNOWN", "id": ticket}
        return {"status": polls.pop(0) if polls else "COMPLETE", "id": ticket}

    def archive(self, ticket: str) -> tuple[bytes, bool]:
        """Return the archive of a complete ticket, and whether its download shall break off."""
        submission, manners = self._tickets[ticket]
        broken = manners.broken > 0
        manners.broken -= broken
        content = self._search(submission) if manners.archive is None else manners.archive()
        return content, broken

    def _search(self, submission: Submission) -> bytes:
        search = partial(_search, self.database, submission.sequences)
        if submission.path.endswith("pair"):
            return pack({PAIRS_FILE: search(UNIREF, paired=True)})
        files = {CLUSTERS_FILE: search(UNIREF, paired=False), HITS_FILE: b"101\t9xyz_A\t0.9\n"}
        if "env" in submission.mode.split("-"):
            files[ENVIRONMENTAL_FILE] = search(ENVIRONMENTAL, paired=False)
        return pack(files)


def _outside() -> bytes:
    return pack({"../outside.a3m": b">101\nOUTSIDE\n\0"})


# A server that tests in Galaxy cannot change while it runs is told by the query itself.
SPELLED: dict[str, Callable[[], Manners]] = {
    "MAINTENANCE": lambda: Manners(submissions=["MAINTENANCE"]),
    "RATELIMIT": lambda: Manners(submissions=["RATELIMIT"], polls=["PENDING"]),
    "FAILING": lambda: Manners(submissions=["ERROR"]),
    "ESCAPE": lambda: Manners(archive=_outside),
    "NARRATIVE": lambda: Manners(archive=lambda: b"no archive at all"),
    "DEATH": lambda: Manners(broken=99, archive=lambda: pack({CLUSTERS_FILE: b">101\nDEATH\n\0"})),
}


def pack(files: dict[str, bytes]) -> bytes:
    """Return a compressed archive of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _search(folder: Path, chains: tuple[str, ...], name: str, *, paired: bool) -> bytes:
    """Return raw alignments of chains, each ended by a zero byte, as servers send them."""
    with tempfile.TemporaryDirectory() as scratch:
        fasta = Path(scratch) / "query.fasta"
        fasta.write_text(f">query\n{':'.join(chains)}\n", encoding="ascii")
        command = [str(colabfold("colabfold_search")), "--mmseqs", str(mmseqs())]
        command += ["--threads", "1", "--prefilter-mode", "1", "--unpack", "0", "--use-env", "0"]
        command += ["--db1", name, "--pair-mode", "paired" if paired else "unpaired"]
        subprocess.run(
            [*command, str(fasta), str(folder), f"{scratch}/out"],
            # Otherwise each thread's part of the result is a file of its own.
            env={**os.environ, "MMSEQS_FORCE_MERGE": "1"},
            check=True,
            capture_output=True,
        )
        return (Path(scratch) / "out" / ("pair.a3m" if paired else "final.a3m")).read_bytes()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, stand_in: StandIn, *arguments: object) -> None:
        self.stand_in = stand_in
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = parse_qs(body)
        lines = fields["q"][0].split()
        agent = self.headers.get("User-Agent", "")
        sequences = tuple(lines[1::2])
        submission = Submission(self.path, fields["mode"][0], agent, sequences)
        if not self._misbehave():
            answer = self.stand_in.submit(submission)
            self._send(json.dumps(answer).encode(), 429 if answer["status"] == "RATELIMIT" else 200)

    def do_GET(self) -> None:
        ticket = self.path.rsplit("/", 1)[-1]
        if self._misbehave():
            return
        if self.path.startswith("/result/download/"):
            content, broken = self.stand_in.archive(ticket)
            self._send(content, 200, cut=broken)
        else:
            self._send(json.dumps(self.stand_in.state(ticket)).encode(), 200)

    def _misbehave(self) -> bool:
        manners = self.stand_in.manners
        if manners.redirect:
            self.send_response(307)
            self.send_header("Location", manners.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif manners.body is not None:
            self._send(manners.body, 200)
        return bool(manners.redirect) or manners.body is not None

    def _send(self, content: bytes, code: int, *, cut: bool = False) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(database: Path, manners: Manners | None = None, port: int = 0) -> Iterator[StandIn]:
    """Serve on loopback while the block runs.

    Args:
        database: Folder of the tiny database.
        manners: How the server behaves; well by default.
        port: Where it listens; 0 for any free one.
    """
    stand_in = StandIn(database, manners or Manners())
    with ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, stand_in)) as server:
        stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve until standard input ends or the process is told to end."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} DATABASE PORT")
    with serving(Path(sys.argv[1]), port=int(sys.argv[2])) as stand_in:
        print(f"serving on {stand_in.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
