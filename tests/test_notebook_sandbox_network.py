"""The network of a hostile notebook under bubblewrap: none but its own."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from notebook_cage import KINDS, Cage, cage_of, expected, needs_bubblewrap, states
from notebook_cage import cage as cage


@pytest.fixture
def listeners() -> Iterator[dict[str, socket.socket]]:
    """Servers of the host: TCP, UDP and an abstract Unix socket, which has no place on disk."""
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.settimeout(10)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0gpulab-test-{os.getpid()}")
    abstract.listen()
    sockets = {"tcp": tcp, "udp": udp, "abstract": abstract}
    yield sockets
    for one in sockets.values():
        one.close()


@pytest.mark.parametrize("kind", KINDS)
def test_network(kind: str, tmp_path: Path, listeners: dict[str, socket.socket]) -> None:
    cage = cage_of(kind, tmp_path)
    echo = threading.Thread(target=_echo_once, args=(listeners["udp"],), daemon=True)
    echo.start()
    results = cage.attempts(
        """
        import socket
        tcp, udp, abstract = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
        def ask():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.settimeout(5)
                one.sendto(b"hello", ("127.0.0.1", udp))
                return one.recv(10)
        def call():
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(chr(0) + abstract)
        attempt("tcp", lambda: socket.create_connection(("127.0.0.1", tcp), 5))
        attempt("udp", ask)
        attempt("abstract", call)
        """,
        listeners["tcp"].getsockname()[1],
        listeners["udp"].getsockname()[1],
        listeners["abstract"].getsockname()[1:].decode(),
    )
    assert states(results) == dict.fromkeys(["tcp", "udp", "abstract"], expected(kind))


def _echo_once(server: socket.socket) -> None:
    try:
        data, sender = server.recvfrom(100)
        server.sendto(data, sender)
    except OSError:
        return


@needs_bubblewrap
def test_network_has_no_way_out(cage: Cage) -> None:
    results = cage.attempts(
        """
        import psutil, socket
        attempt("dns", lambda: socket.getaddrinfo("example.org", 443))
        attempt("dns_packet", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
            b"x", ("192.0.2.53", 53)))
        attempt("ipv6", lambda: socket.create_connection(("2001:db8::1", 443), 5))
        attempt("raw", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        attempt("interfaces", lambda: [n for n, s in psutil.net_if_stats().items()
                                       if s.isup and n != "lo"])
        """
    )
    assert results.pop("interfaces") == ("worked", "[]")
    assert states(results) == dict.fromkeys(["dns", "dns_packet", "ipv6", "raw"], "failed")


@needs_bubblewrap
def test_loopback_works_inside(cage: Cage) -> None:
    """Libraries talk to their own workers by it."""
    results = cage.attempts(
        """
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        attempt("loopback", lambda: socket.create_connection(server.getsockname(), 5))
        """
    )
    assert states(results) == {"loopback": "worked"}
