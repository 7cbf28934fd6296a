"""Each network fault really does what it says to a live connection."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from proxy import SLOW_BYTES, Proxy, Trouble

WORDS = bytes(range(256)) * 4


class Echo:
    """A server that gives back what it gets."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.socket.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    connection.sendall(data)
            except OSError:
                return


@pytest.fixture
def address_file(tmp_path: Path) -> Iterator[Path]:
    """Where the echo server says that it listens."""
    echo = Echo()
    path = tmp_path / "grpc.address"
    path.write_text(f"{echo.address}\n")
    yield path
    echo.socket.close()


Connect = Callable[[], socket.socket]


@pytest.fixture
def proxy(address_file: Path) -> Iterator[Proxy]:
    """A proxy for which every connection is cnn's."""
    own = Proxy(address_file, lambda port: "cnn")
    yield own
    own.close()


@pytest.fixture
def connect(proxy: Proxy, address_file: Path) -> Iterator[Connect]:
    """Connect as a student does: by the file."""
    opened: list[socket.socket] = []

    def begin() -> socket.socket:
        while (address := address_file.read_text().strip()) != proxy.address:
            pass
        host, port = address.split(":")
        opened.append(socket.create_connection((host, int(port)), timeout=30))
        assert echoed(opened[-1], b"hello") == b"hello"
        return opened[-1]

    yield begin
    for connection in opened:
        connection.close()


def echoed(connection: socket.socket, data: bytes, num_bytes: int | None = None) -> bytes:
    connection.sendall(data)
    got = b""
    while len(got) < (num_bytes or len(data)) and (more := connection.recv(65_536)):
        got += more
    return got


def hurt(proxy: Proxy, kind: str, student: str = "cnn", *, seconds: float = 60, chunks: int = 1) -> Trouble:
    return proxy.trouble(kind, student, seconds, chunks=chunks, seed=1)


def test_untroubled_connections_pass_everything(connect):
    assert echoed(connect(), WORDS) == WORDS


def test_reset_ends_live_connections_at_once(proxy, connect):
    connection = connect()
    trouble = hurt(proxy, "reset")
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert (trouble.landed, trouble.num_connections) == (True, 1)
    assert echoed(connect(), WORDS) == WORDS


def test_half_open_connections_stay_open_and_say_nothing(proxy, connect):
    connection = connect()
    trouble = hurt(proxy, "half-open")
    assert not trouble.landed
    connection.sendall(WORDS)
    while trouble.num_bytes < len(WORDS):
        time.sleep(0.01)
    connection.setblocking(False)
    with pytest.raises(BlockingIOError):
        connection.recv(1)
    assert echoed(connect(), WORDS) == WORDS  # only what was connected then is cut


def test_slowed_connections_pass_everything_in_small_pieces(proxy, connect):
    connection = connect()
    trouble = hurt(proxy, "slowed")
    connection.sendall(WORDS)
    assert len(connection.recv(65_536)) <= SLOW_BYTES
    assert trouble.num_bytes >= len(WORDS)


@pytest.mark.parametrize("seed_chunks", [1, 2])
def test_duplicated_bytes_come_twice(proxy, connect, seed_chunks):
    connection = connect()
    trouble = hurt(proxy, "duplicated", chunks=seed_chunks)
    assert echoed(connection, b"once", 8) == b"onceonce"
    assert trouble.num_bytes >= 4


def test_corrupted_bytes_differ_in_one_byte_a_piece(proxy, connect):
    connection = connect()
    trouble = hurt(proxy, "corrupted")
    got = echoed(connection, WORDS)
    assert sum(one != other for one, other in zip(WORDS, got, strict=True)) == 1
    assert trouble.num_bytes == 1
    assert echoed(connection, WORDS) == WORDS  # one piece was asked for


def test_other_students_feel_nothing(proxy, connect):
    connection = connect()
    troubles = [hurt(proxy, kind, "mlp") for kind in ("reset", "half-open", "corrupted")]
    assert echoed(connection, WORDS) == WORDS
    assert not any(trouble.landed for trouble in troubles)


def test_the_proxy_follows_an_aggregator_that_moves(proxy, connect, address_file):
    first = connect()
    other = Echo()
    address_file.write_text(f"{other.address}\n")
    assert echoed(connect(), WORDS) == WORDS
    assert echoed(first, WORDS) == WORDS
    other.socket.close()
